//! The API's description: what it says must be what the server does.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use taskd::http::openapi::{NO_NUL, NOT_BLANK, body_rules, event_parameter_rules, parameter_rules};
use taskd::http::routes;

use crate::snapshots::assert_snapshot;
use taskd_testing::{Answer, Api, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_as_it_was() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let answer = serve.api().get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.expect(200);
    assert_snapshot(
        "openapi.json",
        &format!("{}\n", serde_json::to_string_pretty(&document).unwrap()),
    );
}

/// Each schema that says that it may be null.
fn nullable(value: &Value) -> Vec<&Value> {
    let inside: Vec<&Value> = match value {
        Value::Object(members) => members.values().flat_map(nullable).collect(),
        Value::Array(items) => items.iter().flat_map(nullable).collect(),
        _ => Vec::new(),
    };
    let itself = (value["nullable"] == true).then_some(value);
    itself.into_iter().chain(inside).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_somewhere_and_every_operation_has_its_errors() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let world = World::cut_off();
    let serve = world.serve().await;
    let document = serve.api().get("/openapi.json").await.expect(200);
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["operation", "documentation"].iter().any(|tag| operation["tags"][0] == *tag) {
                continue;
            }
            operations += 1;
            // What is absent is absent, and not null.
            assert!(operation.as_object().unwrap().values().all(|v| !v.is_null()), "{path}");
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            for (status, response) in responses {
                assert!(
                    !response["description"].as_str().unwrap().is_empty(),
                    "{method} {path} {status}"
                );
                for rate in ["-Policy", "", "-Limit", "-Remaining", "-Reset"] {
                    let header = &response["headers"][format!("RateLimit{rate}")];
                    assert!(header["$ref"].is_string(), "{method} {path} {status}: {rate}");
                }
                if status.as_str() >= "400" {
                    let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
                }
            }
        }
    }
    assert_eq!(operations, 48);
    // Nobody has to guess what an operation is for, or what a type may be.
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let description = operation["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{method} {path}: {description:?}");
            let responses = operation["responses"].as_object().unwrap();
            for kind in ['2', '4'] {
                let has = responses.keys().any(|status| status.starts_with(kind));
                assert!(has, "{method} {path} has no {kind}xx");
            }
        }
    }
    for part in nullable(&document) {
        assert!(part["type"].is_string(), "nullable without a type: {part}");
    }
    // Every route is described, but for the files of the documentation, and what only a demo has.
    let is_described = |path: &str| !path.starts_with("/docs") && !path.starts_with("/demo");
    for route in routes::all().iter().filter(|route| is_described(route.path)) {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert!(operation["operationId"].is_string(), "{} {}", route.method, route.path);
    }
    assert_eq!(
        (&document["info"]["title"], &document["tags"][0]["name"]),
        (&json!("taskd"), &json!("tasks"))
    );
}

/// One request body that is right, with all its members, and where to send it.
async fn right(api: &Api, schema: &str) -> (&'static str, String, Value) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let email = format!("u{number}@example.com");
    match schema {
        "TaskInput" => ("POST", "/tasks".into(), json!({ "title": "t" })),
        "TaskPatch" => ("PATCH", "/tasks/1".into(), json!({})),
        "UserInput" => {
            ("POST", "/users".into(), json!({ "email": email, "password": "correct horse" }))
        }
        "UserPatch" => ("PATCH", format!("/users/{}", api.user(&email).await), json!({})),
        "CategoryInput" => ("POST", "/categories".into(), json!({ "name": format!("c{number}") })),
        "CategoryPatch" => ("PATCH", "/categories/1".into(), json!({})),
        "SessionInput" => {
            api.user(&email).await;
            ("POST", "/sessions".into(), json!({ "email": email, "password": "correct horse" }))
        }
        "TokenInput" => ("POST", "/tokens".into(), json!({ "name": "t" })),
        other => panic!("a schema this test does not know: {other}"),
    }
}

/// A text of so many characters, of four bytes each where the format leaves that free.
fn text_of(length: usize, rule: &Value) -> String {
    if rule["format"] != "email" {
        return "𝄞".repeat(length);
    }
    // At most 64 characters before the @, and 63 between dots (RFC 5321, section 4.5.3.1).
    let mut address = format!("{}@{}.{}.", "a".repeat(60), "b".repeat(60), "c".repeat(60));
    let left = length - address.len();
    let label = left.min(62);
    address.push_str(&"d".repeat(label));
    if left > label {
        address.push_str(&format!(".{}", "e".repeat(left - label - 1)));
    }
    address
}

/// Values at the edges of a rule, and whether the document allows each.
fn edges(rule: &Value) -> Vec<(Value, bool)> {
    let length = |name: &str| rule[name].as_u64().map(|n| n as usize);
    let mut edges = vec![
        (Value::Null, rule["nullable"] == true),
        (rule["example"].clone(), true),
        (json!([]), false),
    ];
    if let Some(min) = length("minLength") {
        edges.push((json!(text_of(min - 1, rule)), false));
        edges.push((json!(text_of(min, rule)), true));
    }
    if let Some(max) = length("maxLength") {
        edges.push((json!(text_of(max, rule)), true));
        edges.push((json!(text_of(max + 1, rule)), false));
        edges.push((json!(7), false));
    }
    // Long enough for every rule, and right but for the one character.
    let with_nul = json!("correct\u{0}horse");
    match rule["pattern"].as_str() {
        Some(NOT_BLANK) => {
            edges.extend([" ", "\u{3000}\t", "   "].map(|blank| (json!(blank), false)));
            edges.extend([(json!("\u{0}"), false), (with_nul, false), (json!(" \n.\t"), true)]);
        }
        Some(NO_NUL) => edges.extend([(with_nul, false), (json!("two\nlines, one tab\t"), true)]),
        Some(other) => panic!("a pattern this test does not know: {other}"),
        None => {}
    }
    if let Some(min) = rule["minimum"].as_i64() {
        edges.push((json!(min), true));
        edges.extend(
            [json!(min - 1), json!(min - 2), json!(1.5), json!("1")].map(|wrong| (wrong, false)),
        );
    }
    if let Some(values) = rule["enum"].as_array() {
        edges.extend(values.iter().map(|value| (value.clone(), true)));
        edges.extend([json!("wrong"), json!(""), json!(1)].map(|wrong| (wrong, false)));
    }
    match rule["format"].as_str() {
        Some("date-time") => {
            edges.extend(
                ["2030-01-01T00:00:00+01:00", "2030-01-01T00:00:00.5Z"]
                    .map(|time| (json!(time), true)),
            );
            edges.extend(["", "2030-01-01", "tomorrow"].map(|wrong| (json!(wrong), false)));
        }
        Some("email") => edges.extend(
            ["", "ada", "@example.com", "a b@example.com"].map(|wrong| (json!(wrong), false)),
        ),
        Some("password") | None => {}
        Some(other) => panic!("a format this test does not know: {other}"),
    }
    edges
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_accepted_and_refused_as_the_document_says() {
    let world = World::embedded();
    let more = [("RATE_LIMIT_SIGN_IN", "off"), ("TOKEN_MAX_LIFETIME", "36500d")];
    let serve = world.serve_with(&more).await;
    let api = serve.api().with_token(&world.token(&["--user", "1", "--admin"]).await);
    api.task("t", None).await;
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    let document = api.get("/openapi.json").await.expect(200);
    for (schema, member, rule) in body_rules() {
        let described = &document["components"]["schemas"][schema]["properties"][member];
        for (name, value) in rule.as_object().unwrap() {
            assert_eq!(&described[name], value, "{schema}.{member}: {name}");
        }
        for (value, allowed) in edges(&rule) {
            let (method, path, mut body) = right(&api, schema).await;
            body[member] = value.clone();
            let answer =
                Answer::of(api.request(method, &path).json(&body).send().await.unwrap()).await;
            let shown: String = value.to_string().chars().take(60).collect();
            if allowed {
                // An example that was used before, or that nobody can sign in with, has passed the
                // rules all the same.
                assert!(
                    [200, 201, 401, 409].contains(&answer.status),
                    "{schema}.{member} = {shown}: {}",
                    answer.text
                );
            } else {
                let problem = answer.expect(400);
                assert_eq!(
                    problem["errors"][0]["pointer"],
                    format!("/{member}"),
                    "{schema}.{member} = {shown}"
                );
            }
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (schema, described) in
        schemas.iter().filter(|(name, _)| name.ends_with("Input") || name.ends_with("Patch"))
    {
        let members: Vec<&String> = described["properties"].as_object().unwrap().keys().collect();
        let ruled = body_rules().iter().filter(|(name, _, _)| name == schema).count();
        assert_eq!(members.len(), ruled, "every member of {schema} has its rule");
        let empty = json!([]);
        let required = described.get("required").unwrap_or(&empty).as_array().unwrap();
        for member in members {
            let (method, path, mut body) = right(&api, schema).await;
            body.as_object_mut().unwrap().remove(member);
            let answer =
                Answer::of(api.request(method, &path).json(&body).send().await.unwrap()).await;
            let wanted = required.contains(&json!(member));
            assert_eq!(answer.status == 400, wanted, "{schema} without {member}: {}", answer.text);
        }
        assert_eq!(described["additionalProperties"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_accepted_and_refused_as_the_document_says() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let document = api.get("/openapi.json").await.expect(200);
    let of_every_list = |name: &str| ["limit", "cursor", "total"].contains(&name);
    let mut of_events = parameter_rules();
    of_events.retain(|(name, _)| of_every_list(name));
    of_events.extend(event_parameter_rules());
    for (path, rules) in [("/tasks", parameter_rules()), ("/events", of_events)] {
        let described = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        assert_eq!(described.len(), rules.len());
        parameters_of(&api, path, described, rules).await;
    }
}

async fn parameters_of(
    api: &Api,
    path: &str,
    described: &[Value],
    rules: Vec<(&'static str, Value)>,
) {
    for (name, rule) in rules {
        let parameter = described.iter().find(|parameter| parameter["name"] == name).unwrap();
        assert_eq!(
            (&parameter["schema"], &parameter["required"]),
            (&rule, &json!(false)),
            "{name}"
        );
        let mut values: Vec<(String, bool)> = Vec::new();
        let mut add = |value: &str, allowed: bool| values.push((value.to_owned(), allowed));
        match rule["type"].as_str().unwrap() {
            "integer" => {
                let min = rule["minimum"].as_i64().unwrap();
                add(&min.to_string(), true);
                ["x", "", "1.5", "9223372036854775808"]
                    .into_iter()
                    .for_each(|wrong| add(wrong, false));
                add(&(min - 1).to_string(), false);
                if let Some(max) = rule["maximum"].as_i64() {
                    add(&max.to_string(), true);
                    add(&(max + 1).to_string(), false);
                }
            }
            "boolean" => {
                ["true", "false"].into_iter().for_each(|value| add(value, true));
                ["", "1", "yes", "TRUE"].into_iter().for_each(|wrong| add(wrong, false));
            }
            _ => {
                let length = |name: &str| rule[name].as_u64().map(|n| n as usize);
                // Only the server makes cursors, so a long one made here is wrong in any case.
                let free = name != "cursor";
                if let (Some(min), Some(max)) = (length("minLength"), length("maxLength")) {
                    add(&"é".repeat(min - 1), false);
                    add(&"é".repeat(min), free);
                    add(&"é".repeat(max), free);
                    add(&"é".repeat(max + 1), false);
                }
                for value in rule["enum"].as_array().into_iter().flatten() {
                    let value = value.as_str().unwrap();
                    add(value, true);
                    let (upper, lower) = (value.to_uppercase(), value.to_lowercase());
                    add(if upper == value { &lower } else { &upper }, false);
                }
                if rule["pattern"] == NO_NUL {
                    add("a\u{0}b", false);
                }
                if rule["format"] == "date-time" {
                    add("2030-01-31T12:00:00+01:00", true);
                    ["", "2030-01-31", "tomorrow"].into_iter().for_each(|wrong| add(wrong, false));
                }
            }
        }
        for (value, allowed) in values {
            let request = api.request("GET", path).query(&[(name, &value)]);
            let answer = Answer::of(request.send().await.unwrap()).await;
            let shown: String = value.chars().take(60).collect();
            assert_eq!(
                answer.status,
                if allowed { 200 } else { 400 },
                "{name}={shown}: {}",
                answer.text
            );
        }
    }
}

/// A schema of the document as a JSON Schema, which says "or null" in another way.
fn validator(document: &Value, schema: &str) -> jsonschema::Validator {
    fn convert(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.values_mut().for_each(convert);
                if members.remove("nullable") == Some(json!(true)) && members.contains_key("type") {
                    members["type"] = json!([members["type"], "null"]);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(convert),
            _ => {}
        }
    }
    let mut components = document["components"].clone();
    convert(&mut components);
    let root =
        json!({ "$ref": format!("#/components/schemas/{schema}"), "components": components });
    jsonschema::options().should_validate_formats(true).build(&root).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_the_document_describes_them() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api().with_token(&world.token(&["--user", "1", "--admin"]).await);
    api.task("t", Some(1)).await;
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    let document = api.get("/openapi.json").await.expect(200);
    let activity = taskd_testing::eventually("the activity", || async {
        let page = api.get("/tasks/1/activity?total=true").await.expect(200);
        (page["total"] == 1 && page["data"][0].is_object()).then_some(page)
    })
    .await;
    api.user("ada@example.com").await;
    let credentials = json!({ "email": "ada@example.com", "password": "correct horse" });
    let session = api.post("/sessions", credentials).await.expect(201);
    let tokens = api.get("/tokens?total=true").await.expect(200);
    let events = api.get("/events?total=true").await.expect(200);
    let event = format!("/events/{}", events["data"][0]["eventId"].as_str().unwrap());
    let event = taskd_testing::eventually("its effects", || async {
        let event = api.get(&event).await.expect(200);
        event["effects"][0].is_object().then_some(event)
    })
    .await;
    for (schema, answer) in [
        ("Event", events["data"][0].clone()),
        ("EventPage", events),
        ("Effect", event["effects"][0].clone()),
        ("EventDetail", event),
        ("Task", api.get("/tasks/1").await.expect(200)),
        ("User", api.get("/users/1").await.expect(200)),
        ("Category", api.get("/categories/1").await.expect(200)),
        ("TaskPage", api.get("/tasks?total=true").await.expect(200)),
        ("UserPage", api.get("/users?total=true").await.expect(200)),
        ("CategoryPage", api.get("/categories?total=true").await.expect(200)),
        ("Activity", activity["data"][0].clone()),
        ("ActivityPage", activity),
        ("Session", session),
        ("NewToken", api.post("/tokens", json!({ "name": "t" })).await.expect(201)),
        ("TokenPage", tokens.clone()),
        ("Token", tokens["data"][0].clone()),
        ("Problem", api.get("/tasks/x").await.expect(400)),
    ] {
        let described = &document["components"]["schemas"][schema]["properties"];
        let names = |value: &Value| -> Vec<String> {
            let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(&answer), names(described), "{schema}");
        let validator = validator(&document, schema);
        let faults: Vec<String> = validator
            .iter_errors(&answer)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{schema}: {faults:?}");
    }
}

/// The example of a body, as Swagger UI fills it in.
fn example(document: &Value, schema: &str) -> Value {
    let members = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
    let filled_in = members.iter().map(|(name, rule)| (name.clone(), rule["example"].clone()));
    Value::Object(filled_in.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_works_as_it_stands_in_a_new_up() {
    let world = World::alone();
    let up = world.up(&[], &["AUTH"]).await;
    let api = up.api();
    let document = api.get("/openapi.json").await.expect(200);
    for (method, path, schema, status) in [
        ("POST", "/tasks", "TaskInput", 201),
        ("PUT", "/tasks/1", "TaskInput", 200),
        ("PATCH", "/tasks/1", "TaskPatch", 200),
        ("POST", "/users", "UserInput", 201),
        ("POST", "/sessions", "SessionInput", 201),
        ("PATCH", "/users/2", "UserPatch", 200),
        ("POST", "/categories", "CategoryInput", 201),
        ("PATCH", "/categories/1", "CategoryPatch", 200),
    ] {
        let body = example(&document, schema);
        let answer = api.request(method, path).json(&body).send().await.unwrap();
        let (found, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(found, status, "{method} {path} {body}: {text}");
    }
    for path in ["/dead-letters/replays", "/dead-letters/discard"] {
        let order = &document["paths"][path]["post"]["requestBody"];
        let order = &order["content"]["application/json"]["schema"]["example"];
        api.post(path, order.clone()).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_leads_a_browser_to_the_console_and_tells_others_what_there_is() {
    let world = World::embedded();
    let serve = world.serve_with(&[("AUTH", "tokens")]).await;
    let api = serve.api();
    let index = api.get("/").await.expect(200);
    assert_eq!(index["documentation"], "/docs");
    for path in ["documentation", "openapi", "health", "readiness"].map(|name| &index[name]) {
        assert_eq!(api.get(path.as_str().unwrap()).await.status, 200, "{path}");
    }
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = api.request("GET", "/").header("accept", browser).send().await.unwrap();
    assert!(page.url().path().starts_with("/console"), "{}", page.url());
    assert!(page.text().await.unwrap().contains("<title>Sign in · taskd</title>"));
    assert_eq!(api.post("/", json!({})).await.code(405), "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_and_the_event_schemas_are_served() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let api = serve.api();
    let page = api.get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(page.text.contains("swagger-ui") && !page.text.contains("https://"), "{}", page.text);
    for (asset, kind) in [
        ("swagger-ui-bundle.js", "javascript"),
        ("swagger-ui-standalone-preset.js", "javascript"),
        ("swagger-ui.css", "text/css"),
        ("index.css", "text/css"),
        ("swagger-initializer.js", "javascript"),
    ] {
        let answer = api.get(&format!("/docs/{asset}")).await;
        assert_eq!(answer.status, 200, "{asset}");
        assert!(answer.header("content-type").contains(kind), "{asset}: {answer:?}");
        assert!(page.text.contains(asset) && !answer.text.is_empty(), "{asset}");
    }
    assert!(api.get("/docs/swagger-initializer.js").await.text.contains("/openapi.json"));
    for unknown in ["/docs/no.js", "/docs/../Cargo.toml", "/docs/%2e%2e/secret", "/docs/a/b"] {
        assert_eq!(api.get(unknown).await.code(404), "route_not_found", "{unknown}");
    }
    for name in ["TASK_CREATED", "TASK_UPDATED", "TASK_DELETED"] {
        let schema = api.get(&format!("/schemas/{name}")).await.expect(200);
        assert_eq!(schema["title"], name);
        jsonschema::options().build(&schema).unwrap();
    }
}
