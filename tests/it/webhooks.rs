//! Webhooks: from the change of a task to the endpoint, and what happens there.

use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook as Verifier;

use crate::access::House;
use taskd_testing::{Answer, Api, Manner, Process, Received, Receiver, Smtp, World, eventually};

pub const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef-for-tests";

/// A world whose processes may send webhooks to this machine.
pub async fn world() -> World {
    let mut world = World::new().await;
    allow(&mut world);
    world
}

pub fn allow(world: &mut World) {
    world.set("SECRET_KEY", SECRET_KEY);
    world.set("WEBHOOK_ALLOW", "127.0.0.1");
}

/// An API, a worker and an endpoint.
pub struct Set {
    pub world: World,
    _serve: Process,
    pub work: Process,
    pub api: Api,
    pub receiver: Receiver,
}

pub async fn set() -> Set {
    let world = world().await;
    let (serve, work) = tokio::join!(world.serve(), world.work("w", &[]));
    let api = serve.api();
    Set { world, _serve: serve, work, api, receiver: Receiver::start().await }
}

impl Set {
    /// A webhook to this path with these members besides.
    pub async fn hook(&self, path: &str, more: Value) -> Value {
        hook(&self.api, &self.receiver, path, more).await.expect(201)
    }

    /// The deliveries to a webhook once none of them is open.
    pub async fn settled(&self, hook: &Value, count: usize) -> Vec<Value> {
        settled(&self.api, hook, count).await
    }
}

pub async fn hook(api: &Api, receiver: &Receiver, path: &str, more: Value) -> Answer {
    let mut members = json!({ "url": receiver.url(path) });
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.post("/webhooks", members).await
}

pub async fn deliveries(api: &Api, hook: &Value) -> Vec<Value> {
    let page = api.get(&format!("/webhooks/{}/deliveries?limit=100", hook["id"])).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

pub async fn settled(api: &Api, hook: &Value, count: usize) -> Vec<Value> {
    eventually(&format!("{count} deliveries are settled"), || async {
        let found = deliveries(api, hook).await;
        let open = found.iter().filter(|one| one["settledAt"].is_null()).count();
        (found.len() == count && open == 0).then_some(found)
    })
    .await
}

/// Verifies by the reference implementation, with this secret.
pub fn verified(received: &Received, secret: &Value) -> bool {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, received.headers[name].parse().unwrap());
    }
    let verifier = Verifier::new(secret.as_str().unwrap()).unwrap();
    verifier.verify(&received.body, &headers).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_event_comes_once_signed_and_as_in_the_queue() {
    let set = set().await;
    let hook = set.hook("/all", json!({})).await;
    assert!(hook["secret"].as_str().unwrap().starts_with("whsec_"));
    let created = set.hook("/created", json!({ "eventTypes": ["TASK_CREATED"] })).await;
    let done = json!({ "filter": { "status": "completed", "userId": 1 } });
    set.hook("/completed", done).await;
    let task = set.api.task("For others", Some(1)).await["id"].as_i64().unwrap();
    let path = format!("/tasks/{task}");
    set.api.patch(&path, json!({ "status": "completed" })).await.expect(200);
    set.api.delete(&path).await.expect(204);

    let got = set.receiver.wait_for("/all", 3).await;
    let events = set.api.get("/events?limit=100").await.expect(200);
    let expected: Vec<&Value> =
        events["data"].as_array().unwrap().iter().map(|e| &e["eventId"]).collect();
    for one in &got {
        assert!(verified(one, &hook["secret"]), "{one:?}");
        assert!(!verified(one, &created["secret"]));
        let body = one.json();
        assert_eq!(body["metadata"]["eventId"], one.id());
        assert!(expected.contains(&&json!(one.id())));
        assert_eq!(one.headers["content-type"], "application/json");
        assert!(one.headers["user-agent"].starts_with("taskd/"));
    }
    settled(&set.api, &hook, 3).await;
    let mut types: Vec<String> =
        set.receiver.received("/all").iter().map(|one| one.json()["type"].to_string()).collect();
    types.sort();
    assert_eq!(types, ["\"TASK_CREATED\"", "\"TASK_DELETED\"", "\"TASK_UPDATED\""]);
    settled(&set.api, &created, 1).await;
    assert_eq!(set.receiver.received("/created").len(), 1);
    // The deletion says what the task was at last.
    assert_eq!(set.receiver.wait_for("/completed", 2).await.len(), 2);

    let one = &deliveries(&set.api, &created).await[0];
    assert_eq!((&one["state"], &one["lastStatus"]), (&json!("done"), &json!(200)));
    let path = format!("/webhooks/{}/deliveries/{}", created["id"], one["id"]);
    let whole = set.api.get(&path).await.expect(200);
    let tries = whole["history"].as_array().unwrap();
    assert_eq!(
        (tries.len(), &tries[0]["answer"], &tries[0]["worker"]),
        (1, &json!("okay"), &json!("w"))
    );
    // The secret is nowhere else.
    let shown = set.api.get(&format!("/webhooks/{}", hook["id"])).await.expect(200);
    assert!(shown.get("secret").is_none(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_failure_is_tried_again_by_the_schedule_with_the_same_id_and_then_given_up() {
    let set = set().await;
    let delays = json!({ "retryDelays": ["1s", "1s"] });
    for (path, manner, error) in [
        ("/500", Manner::Status(500), "answered 500"),
        ("/moved", Manner::Redirect, "no redirect is followed"),
        ("/broken", Manner::BreakOff, ""),
    ] {
        set.receiver.set(path, manner);
        let hook = set.hook(path, delays.clone()).await;
        set.api.task(path, Some(1)).await;
        let failed = set.settled(&hook, 1).await.remove(0);
        assert_eq!(
            (&failed["state"], &failed["attempts"]),
            (&json!("failed"), &json!(3)),
            "{failed}"
        );
        assert!(failed["lastError"].as_str().unwrap().contains(error), "{failed}");
        let got = set.receiver.received(path);
        assert_eq!(got.len(), 3);
        assert!(got.iter().all(|one| one.id() == got[0].id()));
        assert!(got.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_millis(990)));
        let hook = set.api.get(&format!("/webhooks/{}", hook["id"])).await.expect(200);
        assert!(hook["failingSince"].is_string(), "{hook}");
        set.api.delete(&format!("/webhooks/{}", hook["id"])).await.expect(204);
    }
    assert_eq!(set.receiver.received("/elsewhere").len(), 0);

    // A busy one is left alone for as long as it asks.
    set.receiver.set("/busy", Manner::Busy(3));
    let hook = set.hook("/busy", delays.clone()).await;
    set.api.task("busy", Some(1)).await;
    let first = set.receiver.wait_for("/busy", 1).await;
    set.receiver.set("/busy", Manner::Status(200));
    let both = set.receiver.wait_for("/busy", 2).await;
    assert!(both[1].at - first[0].at >= Duration::from_secs(3));
    assert_eq!(set.settled(&hook, 1).await[0]["state"], "done");
    // What lies about its length has answered all the same.
    set.receiver.set("/liar", Manner::LieAboutLength);
    let hook = set.hook("/liar", delays).await;
    set.api.task("liar", Some(1)).await;
    assert_eq!(set.settled(&hook, 1).await[0]["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_answers_410_is_disabled_and_its_owner_told() {
    let smtp = Smtp::start().await;
    let mut world = world().await;
    world.set("SMTP_URL", &smtp.url());
    let house = House::at(world).await;
    let _work = house.world.work("w", &[]).await;
    let receiver = Receiver::start().await;
    receiver.set("/gone", Manner::Status(410));
    let hook = hook(&house.member, &receiver, "/gone", json!({ "description": "Billing" }))
        .await
        .expect(201);
    house.member.task("one", None).await;
    let path = format!("/webhooks/{}", hook["id"]);
    let disabled = eventually("it is disabled", || async {
        let hook = house.member.get(&path).await.expect(200);
        (hook["enabled"] == false).then_some(hook)
    })
    .await;
    assert_eq!(disabled["disabledReason"], "gone");
    house.member.task("two", None).await;
    let mails = eventually("the owner is told", || async {
        let mails = smtp.mails();
        mails.iter().any(|mail| mail.subject.contains("is disabled")).then_some(mails)
    })
    .await;
    let mail = mails.iter().find(|mail| mail.subject.contains("is disabled")).unwrap();
    assert_eq!(mail.to, "member@example.com");
    assert_eq!(settled(&house.member, &hook, 1).await[0]["state"], "failed");
    // Nothing can be sent until it is enabled, and then what was missed.
    let since = json!({ "since": "2020-01-01T00:00:00Z" });
    for order in ["recover", "replay-history"] {
        let refused = house.member.post(&format!("{path}/{order}"), since.clone()).await;
        assert_eq!(refused.code(409), "webhook_disabled");
    }
    receiver.set("/gone", Manner::Status(200));
    let enabled = house.member.patch(&path, json!({ "enabled": true })).await.expect(200);
    assert_eq!(
        (&enabled["disabledReason"], &enabled["failingSince"]),
        (&Value::Null, &Value::Null)
    );
    let recovered = house.member.post(&format!("{path}/recover"), since.clone()).await.expect(200);
    assert_eq!(recovered["count"], 1);
    let replayed =
        house.member.post(&format!("{path}/replay-history"), since.clone()).await.expect(200);
    assert_eq!(replayed["count"], 1, "the task that was made while it was disabled");
    let settled = settled(&house.member, &hook, 2).await;
    assert!(settled.iter().all(|one| one["state"] == "done"), "{settled:?}");
    let again = house.member.post(&format!("{path}/replay-history"), since).await.expect(200);
    assert_eq!(again["count"], 0, "each event once");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_fails_for_a_day_is_warned_of_and_for_five_days_disabled() {
    let smtp = Smtp::start().await;
    let mut world = world().await;
    world.set("SMTP_URL", &smtp.url());
    let house = House::at(world).await;
    let _work = house.world.work("w", &[]).await;
    let receiver = Receiver::start().await;
    receiver.set("/500", Manner::Status(500));
    let hook =
        hook(&house.member, &receiver, "/500", json!({ "retryDelays": [] })).await.expect(201);
    let db = house.world.db().await;
    let told = async |text: &str| {
        eventually(text, || async {
            smtp.mails().iter().any(|mail| mail.subject.contains(text)).then_some(())
        })
        .await;
    };
    house.member.task("one", None).await;
    settled(&house.member, &hook, 1).await;
    assert_eq!(db.number("SELECT count(*) FROM events WHERE subject_kind = 'webhook'").await, 0);
    db.run("UPDATE webhooks SET failing_since = now() - interval '25 hours'").await;
    for title in ["two", "three"] {
        house.member.task(title, None).await;
    }
    told("fails").await;
    settled(&house.member, &hook, 3).await;
    assert_eq!(db.number("SELECT count(*) FROM events WHERE subject_kind = 'webhook'").await, 1);
    db.run("UPDATE webhooks SET failing_since = now() - interval '121 hours'").await;
    house.member.task("four", None).await;
    told("is disabled").await;
    let shown = house.member.get(&format!("/webhooks/{}", hook["id"])).await.expect(200);
    assert_eq!(shown["disabledReason"], "failing");
    assert_eq!(db.number("SELECT count(*) FROM events WHERE subject_kind = 'webhook'").await, 2);
}
