//! What operators are answered fits what the API's description says of it.

use serde_json::{Map, Value, json};
use taskd::http::routes;

use taskd_testing::{Answer, Api, Smtp, Verdict, World};

/// A schema of OpenAPI 3.0 as one of JSON Schema. An object has no members but those that are described.
fn strict(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut made: Map<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), strict(value))).collect();
            if made.contains_key("properties") && !made.contains_key("additionalProperties") {
                made.insert("additionalProperties".to_owned(), json!(false));
            }
            if made.remove("nullable") == Some(json!(true)) {
                return json!({ "anyOf": [made, { "type": "null" }] });
            }
            Value::Object(made)
        }
        Value::Array(items) => items.iter().map(strict).collect(),
        other => other.clone(),
    }
}

struct Described {
    paths: Value,
    components: Value,
}

impl Described {
    async fn read(api: &Api) -> Described {
        let document = api.get("/openapi.json").await.expect(200);
        Described { paths: document["paths"].clone(), components: strict(&document["components"]) }
    }

    /// Holds an answer against the description of its operation.
    fn check(&self, method: &str, path: &str, answer: Answer) -> Value {
        let status = answer.status.to_string();
        let content = &self.paths[path][method.to_lowercase()]["responses"][&status]["content"];
        let schema = &content["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} is not described: {}", answer.text);
        let whole = json!({ "allOf": [strict(schema)], "components": self.components });
        let body = answer.json();
        let found = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<String> = found
            .iter_errors(&body)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{method} {path}: {faults:#?}\n{body:#}");
        body
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_answer_to_an_operator_fits_its_schema() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let (serve, _work) = tokio::join!(world.serve(), world.work_mailing("w", &smtp));
    let api = serve.api();
    let described = Described::read(&api).await;
    api.task("one", Some(1)).await;
    api.task("two", Some(1)).await;
    let letters = api.letters(2).await;
    let [id, other] = [0, 1].map(|which: usize| letters[which]["id"].as_str().unwrap().to_owned());
    let post = async |path: &str, described_as: &str, body: Value| {
        described.check("POST", described_as, api.post(path, body).await)
    };
    const REPLAYS: &str = "/dead-letters/replays";
    post(REPLAYS, REPLAYS, json!({ "all": true, "dryRun": true })).await;
    let made = post(REPLAYS, REPLAYS, json!({ "ids": [id] })).await;
    let replay = &made["replay"]["id"];
    for order in ["stop", "resume"] {
        let path = format!("{REPLAYS}/{replay}/{order}");
        let answer = api.post(&path, json!({})).await;
        // One that has ended takes no orders.
        if answer.status == 200 {
            described.check("POST", &format!("{REPLAYS}/{{replayId}}/{order}"), answer);
        }
    }
    let edit = format!("/dead-letters/{other}/edit");
    let payload = letters[1]["body"]["payload"].clone();
    let body = json!({ "payload": payload, "dryRun": true });
    post(&edit, "/dead-letters/{letterId}/edit", body).await;
    for path in ["/dead-letters/discard"] {
        post(path, path, json!({ "ids": [other], "dryRun": true })).await;
    }
    for order in ["pause", "resume"] {
        let path = format!("/effects/email/{order}");
        post(&path, &format!("/effects/{{name}}/{order}"), json!({})).await;
    }
    // Every page that operators look at, and with something on it.
    let mut looked_at = 0;
    for route in routes::all().iter().filter(|route| route.method == "GET") {
        let tag = &described.paths[route.path]["get"]["tags"][0];
        let is_monitoring = ["/healthz", "/readyz", "/metrics"].contains(&route.path);
        if tag != "operation" || is_monitoring {
            continue;
        }
        let path =
            route.path.replace("{letterId}", &other).replace("{replayId}", &replay.to_string());
        described.check("GET", route.path, api.get(&path).await);
        looked_at += 1;
    }
    assert_eq!(looked_at, 11);
}
