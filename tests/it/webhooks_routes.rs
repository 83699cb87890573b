//! `/webhooks`: what may be asked, and by whom.

use serde_json::{Value, json};
use taskd_testing::{Answer, Receiver, World, eventually};

use crate::access::House;
use crate::webhooks::{allow, deliveries, hook, set, settled, verified, world};

const SINCE: &str = "2020-01-01T00:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_listed_changed_and_deleted() {
    let mut world = World::embedded();
    allow(&mut world);
    let serve = world.serve().await;
    let api = serve.api();
    let all = json!({
        "url": "https://example.com/hook?key=1", "description": "Billing", "ordered": true, "rate": "60/1m",
        "eventTypes": ["TASK_CREATED", "TASK_DELETED"], "filter": { "userId": 1, "status": "completed" },
        "retryDelays": ["5s", "5m"], "enabled": false,
    });
    let answer = api.post("/webhooks", all.clone()).await;
    assert_eq!(answer.header("location"), "/webhooks/1");
    let made = answer.expect(201);
    for (name, value) in all.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!((&made["userId"], &made["disabledReason"]), (&Value::Null, &json!("by-request")));
    let usual = api.post("/webhooks", json!({ "url": "https://example.com" })).await.expect(201);
    assert_eq!(usual["retryDelays"], json!(["5s", "5m", "30m", "2h", "5h", "10h", "10h"]));
    assert_eq!(
        (&usual["eventTypes"], &usual["filter"], &usual["ordered"], &usual["enabled"]),
        (&Value::Null, &json!({}), &json!(false), &json!(true))
    );
    assert_ne!(made["secret"], usual["secret"]);

    let page = api.get("/webhooks?limit=1&total=true").await.expect(200);
    assert_eq!((&page["data"][0]["id"], &page["total"]), (&json!(1), &json!(2)));
    assert!(page["data"][0].get("secret").is_none());
    let next = format!("/webhooks?limit=1&cursor={}", page["nextCursor"].as_str().unwrap());
    let next = api.get(&next).await.expect(200);
    assert_eq!((&next["data"][0]["id"], &next["nextCursor"]), (&json!(2), &Value::Null));

    let change = json!({ "enabled": true, "description": null, "filter": {}, "retryDelays": [] });
    let changed = api.patch("/webhooks/1", change).await.expect(200);
    assert_eq!(
        (&changed["enabled"], &changed["description"], &changed["retryDelays"]),
        (&json!(true), &Value::Null, &json!([]))
    );
    assert_eq!(changed["url"], all["url"]);
    api.delete("/webhooks/1").await.expect(204);
    for answer in [api.get("/webhooks/1").await, api.delete("/webhooks/1").await] {
        assert_eq!(answer.code(404), "not_found");
    }
    // What was done is written down, without what may be secret in an address.
    let audit = api.get("/audit?limit=100").await.expect(200);
    let entries = audit["data"].as_array().unwrap();
    let actions: Vec<&str> =
        entries.iter().rev().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["create webhook", "create webhook", "change webhook", "delete webhook"]);
    assert!(
        !audit.to_string().contains("key=1") && !audit.to_string().contains("whsec_"),
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_nothing_is_made() {
    let mut world = World::embedded();
    allow(&mut world);
    let serve = world.serve().await;
    let api = serve.api();
    let pointers = |answer: Answer| -> Vec<String> {
        let problem = answer.expect(400);
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let wrong = json!({
        "url": "https://example.com", "description": "", "eventTypes": ["WEBHOOK_FAILING"],
        "filter": { "colour": "red" }, "ordered": 1, "rate": 0, "retryDelays": ["100d"], "enabled": "no", "secret": "x",
    });
    let named = pointers(api.post("/webhooks", wrong).await);
    assert_eq!(
        named,
        [
            "/description",
            "/eventTypes",
            "/filter",
            "/ordered",
            "/rate",
            "/retryDelays",
            "/enabled",
            "/secret"
        ]
    );
    assert_eq!(pointers(api.post("/webhooks", json!({})).await), ["/url"]);
    for url in [
        "",
        "x",
        "ftp://example.com",
        "https://user:pw@example.com",
        "https://example.com/#part",
        "http://10.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x7f.1.2.3/",
        "https://2130706432.1/",
        "https://[64:ff9b::a00:1]/",
        "https://example.com:0/",
    ] {
        let named = pointers(api.post("/webhooks", json!({ "url": url })).await);
        assert_eq!(named, ["/url"], "{url}");
    }
    assert_eq!(api.get("/webhooks").await.expect(200)["data"], json!([]));
    let hook = api.post("/webhooks", json!({ "url": "https://example.com" })).await.expect(201);
    let path = format!("/webhooks/{}", hook["id"]);
    for order in ["recover", "replay-history"] {
        let path = format!("{path}/{order}");
        assert_eq!(pointers(api.post(&path, json!({})).await), ["/since"]);
        assert_eq!(pointers(api.post(&path, json!({ "since": "yesterday" })).await), ["/since"]);
    }
    let types = json!({ "since": SINCE, "types": ["TASK_X"] });
    assert_eq!(pointers(api.post(&format!("{path}/replay-history"), types).await), ["/types"]);
    assert_eq!(pointers(api.get(&format!("{path}/deliveries?state=lost")).await), ["/state"]);
    assert_eq!(api.get(&format!("{path}/deliveries/7")).await.code(404), "not_found");
    assert_eq!(
        api.post(&format!("{path}/deliveries/7/resend"), json!({})).await.code(404),
        "not_found"
    );
    for number in 1..50 {
        api.post("/webhooks", json!({ "url": format!("https://example.com/{number}") }))
            .await
            .expect(201);
    }
    let last = api.post("/webhooks", json!({ "url": "https://example.com/last" })).await;
    assert_eq!(last.code(409), "too_many_webhooks");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_a_key_no_secret_can_be_kept_and_another_key_opens_none() {
    let world = World::new().await;
    let serve = world.serve().await;
    let refused = serve.api().post("/webhooks", json!({ "url": "https://example.com" })).await;
    let refused = refused.expect(503);
    assert_eq!(refused["code"], "no_secret_key");
    assert!(refused["detail"].as_str().unwrap().contains("openssl rand -hex 32"), "{refused}");
    let receiver = Receiver::start().await;
    let settings = |key: &'static str| [("SECRET_KEY", key), ("WEBHOOK_ALLOW", "127.0.0.1")];
    let (first, second) = (
        settings("first-key-first-key-first-key-first"),
        settings("second-key-second-key-second-key"),
    );
    let serve = world.serve_with(&first).await;
    let api = serve.api();
    let hook = hook(&api, &receiver, "/hook", json!({})).await.expect(201);
    // Nothing is lost while a worker has the wrong key.
    let wrong = world.work("wrong", &second).await;
    api.task("t", Some(1)).await;
    wrong
        .log("it says so", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("no key of SECRET_KEY"))
        })
        .await;
    assert_eq!(receiver.received("/hook").len(), 0);
    wrong.signal("TERM");
    wrong.exit().await;
    world.db().await.run("UPDATE webhook_deliveries SET due_at = now()").await;
    let _right = world.work("right", &first).await;
    let got = receiver.wait_for("/hook", 1).await;
    assert!(verified(&got[0], &hook["secret"]));
    let delivery = &settled(&api, &hook, 1).await[0];
    assert_eq!(delivery["attempts"], 1, "what could not be sent was no try");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_new_secret_signs_beside_the_one_before_for_a_day() {
    let set = set().await;
    let hook = set.hook("/hook", json!({})).await;
    let path = format!("/webhooks/{}", hook["id"]);
    let rotated = set.api.post(&format!("{path}/rotate-secret"), json!({})).await.expect(200);
    assert_ne!(rotated["secret"], hook["secret"]);
    assert!(rotated["oldSecretUntil"].is_string(), "{rotated}");
    // Rotated again, it still signs by the one that the receiver has.
    let first = rotated;
    let rotated = set.api.post(&format!("{path}/rotate-secret"), json!({})).await.expect(200);
    set.api.task("one", Some(1)).await;
    let got = set.receiver.wait_for("/hook", 1).await;
    for secret in [&hook["secret"], &first["secret"], &rotated["secret"]] {
        assert!(verified(&got[0], secret));
    }
    set.world.db().await.run("UPDATE webhooks SET old_secret_until = now()").await;
    set.api.task("two", Some(1)).await;
    let got = set.receiver.wait_for("/hook", 2).await;
    assert!(!verified(&got[1], &hook["secret"]) && verified(&got[1], &rotated["secret"]));
    // A ping is signed, too, and says what came of it.
    let ping = set.api.post(&format!("{path}/ping"), json!({})).await.expect(200);
    assert_eq!(
        (&ping["succeeded"], &ping["status"], &ping["answer"]),
        (&json!(true), &json!(200), &json!("okay"))
    );
    let got = set.receiver.received("/hook").pop().unwrap();
    assert_eq!(
        (got.json()["type"].as_str(), got.id()),
        (Some("WEBHOOK_PING"), ping["eventId"].as_str().unwrap())
    );
    assert!(verified(&got, &rotated["secret"]));
    // A delivery can be sent again, under the same id.
    let delivery = &settled(&set.api, &hook, 2).await[0];
    let path = format!("{path}/deliveries/{}", delivery["id"]);
    let resent = set.api.post(&format!("{path}/resend"), json!({})).await.expect(200);
    assert_eq!(resent["state"], "pending");
    let got = set.receiver.wait_for("/hook", 4).await;
    assert_eq!(got[3].id(), delivery["eventId"]);
    eventually("it is done again", || async {
        let shown = set.api.get(&path).await.expect(200);
        (shown["history"].as_array().unwrap().len() == 2 && shown["state"] == "done").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_repeated_request_makes_one_webhook_and_shows_its_secret_again() {
    let world = world().await;
    let serve = world.serve().await;
    let api = serve.api();
    let post = async || {
        let body = json!({ "url": "https://example.com" });
        let request = api.request("POST", "/webhooks").header("Idempotency-Key", "k").json(&body);
        Answer::of(request.send().await.unwrap()).await.expect(201)
    };
    let made = post().await;
    assert_eq!(post().await, made);
    let db = world.db().await;
    assert_eq!(db.count("webhooks").await, 1);
    let kept = "SELECT count(*) FROM idempotency_keys WHERE position('whsec_'::bytea in body) > 0";
    assert_eq!(db.number(kept).await, 0, "it is kept sealed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_sees_its_own_and_is_told_what_it_may_see() {
    let house = House::at(world().await).await;
    let _work = house.world.work("w", &[]).await;
    let receiver = Receiver::start().await;
    let of_member = hook(&house.member, &receiver, "/member", json!({})).await.expect(201);
    let of_admin = hook(&house.admin, &receiver, "/admin", json!({})).await.expect(201);
    assert_eq!(of_member["userId"], house.member_id);
    // Another user's webhook does not exist for a member.
    let others = format!("/webhooks/{}", of_admin["id"]);
    let recover = json!({ "since": SINCE });
    for answer in [
        house.member.get(&others).await,
        house.member.patch(&others, json!({ "enabled": false })).await,
        house.member.delete(&others).await,
        house.member.get(&format!("{others}/deliveries")).await,
        house.member.post(&format!("{others}/ping"), json!({})).await,
        house.member.post(&format!("{others}/rotate-secret"), json!({})).await,
        house.member.post(&format!("{others}/recover"), recover.clone()).await,
        house.member.post(&format!("{others}/replay-history"), recover).await,
    ] {
        assert_eq!(answer.code(404), "not_found");
    }
    let listed = house.member.get("/webhooks").await.expect(200);
    assert_eq!(
        (listed["data"].as_array().unwrap().len(), &listed["data"][0]["id"]),
        (1, &of_member["id"])
    );
    assert_eq!(house.admin.get("/webhooks?total=true").await.expect(200)["total"], 2);

    house.admin.task("of the admin", Some(1)).await;
    house.admin.task("of nobody", None).await;
    house.member.task("of the member", None).await;
    let given = house.admin.task("a secret title", Some(1)).await["id"].as_i64().unwrap();
    let path = format!("/tasks/{given}");
    let body = json!({ "userId": house.member_id, "title": "for the member" });
    house.admin.patch(&path, body).await.expect(200);
    house.admin.patch(&path, json!({ "userId": 1, "title": "taken away" })).await.expect(200);
    settled(&house.admin, &of_admin, 6).await;
    settled(&house.member, &of_member, 2).await;
    let told = receiver.received("/member");
    let titles: Vec<Value> =
        told.iter().map(|one| one.json()["payload"]["title"].clone()).collect();
    assert_eq!(titles.len(), 2);
    assert!(titles.contains(&json!("of the member")) && titles.contains(&json!("for the member")));
    let given = told.iter().find(|one| one.json()["payload"]["title"] == "for the member").unwrap();
    assert!(!String::from_utf8_lossy(&given.body).contains("secret title"), "{:?}", given.json());
    assert!(verified(given, &of_member["secret"]));

    // A viewer looks, and sees no answers.
    let token =
        json!({ "email": "vera@example.com", "role": "viewer", "password": "correct horse" });
    let vera = house.admin.post("/users", token).await.expect(201)["id"].to_string();
    let viewer = house.anonymous().with_token(&house.world.token(&["--user", &vera]).await);
    let one = &deliveries(&viewer, &of_admin).await[0];
    let path = format!("/webhooks/{}/deliveries/{}", of_admin["id"], one["id"]);
    assert_eq!(viewer.get(&path).await.expect(200)["history"][0]["answer"], Value::Null);
    assert_eq!(house.admin.get(&path).await.expect(200)["history"][0]["answer"], "okay");
    assert_eq!(viewer.post("/webhooks", json!({ "url": "https://example.com" })).await.status, 403);

    // What may be seen is looked at when it is sent, and a user's webhooks end with the user.
    let second = house.admin.user("second@example.com").await;
    let second_token = house.world.token(&["--user", &second.to_string(), "--admin"]).await;
    let second_admin = house.anonymous().with_token(&second_token);
    receiver.set("/second", taskd_testing::Manner::Status(503));
    let more = json!({ "retryDelays": ["1s", "1s", "1s", "1s", "1s"] });
    let of_second = hook(&second_admin, &receiver, "/second", more).await.expect(201);
    house.admin.task("of the admin", Some(1)).await;
    receiver.wait_for("/second", 1).await;
    house.admin.patch(&format!("/users/{second}"), json!({ "role": "member" })).await.expect(200);
    let failed = settled(&house.admin, &of_second, 1).await.remove(0);
    assert!(failed["lastError"].as_str().unwrap().contains("may not see"), "{failed}");
    house.admin.delete(&format!("/users/{second}")).await.expect(204);
    assert_eq!(
        house.admin.get(&format!("/webhooks/{}", of_second["id"])).await.code(404),
        "not_found"
    );
    let left = format!("webhook_deliveries WHERE webhook_id = {}", of_second["id"]);
    let db = house.world.db().await;
    eventually("its deliveries are deleted", || async {
        (db.count(&left).await + db.count("deleted_webhooks").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let world = world().await;
    let allowed = [("WEBHOOK_ALLOW", "127.0.0.2")];
    let (serve, _work) = tokio::join!(world.serve_with(&allowed), world.work("w", &allowed));
    let api = serve.api();
    let receiver = Receiver::start().await;
    assert_eq!(hook(&api, &receiver, "/hook", json!({})).await.status, 400, "a literal address");
    let named = receiver.url("/hook").replace("127.0.0.1", "localhost");
    let made = json!({ "url": named, "retryDelays": [] });
    let hook = api.post("/webhooks", made).await.expect(201);
    api.task("t", Some(1)).await;
    let failed = settled(&api, &hook, 1).await.remove(0);
    assert!(failed["lastError"].as_str().unwrap().contains("no address"), "{failed}");
    let ping = api.post(&format!("/webhooks/{}/ping", hook["id"]), json!({})).await.expect(200);
    assert_eq!(ping["succeeded"], false);
    assert_eq!(receiver.received("/hook").len(), 0);
}
