//! A kind of subject that taskd doesn't know: one type of event and one effect, defined here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::Utc;
use serde_json::{Value, json};
use taskd::dead_letters::{DeadLetters, ReplayOrder};
use taskd::domain::catalog;
use taskd::domain::event::{
    Actor, Event, EventType, EventTypes, NewEvent, Origin, Owners, Subject,
};
use taskd::domain::processing::failure::Failure;
use taskd::effects::{self, Effect, EffectContext, ExternalWork, Outcome, Prepared, Target, Work};
use taskd::operate::Operator;
use taskd::store::delivery::outbox;
use taskd::store::letters::LetterFilter;
use taskd::store::{StoreError, transaction};
use uuid::Uuid;

use crate::access::{House, PASSWORD, sign_in};
use crate::extending::{Worker, state, states};
use taskd_testing::{Raw, Smtp, World, eventually};

const REMINDER_FIRED: EventType = EventType {
    name: "REMINDER_FIRED",
    kind: "reminder",
    description: "A reminder was due.",
    payload: || {
        json!({
            "type": "object",
            "required": ["id", "version", "text"],
            "properties": {
                "id": { "type": "integer" },
                "version": { "type": "integer" },
                "text": { "type": "string" },
            },
        })
    },
    example: || json!({ "id": 1, "version": 1, "text": "Water the plants" }),
    readable: |payload| payload["text"].as_str().map(drop).ok_or("there is no text".to_owned()),
};

fn types() -> EventTypes {
    catalog::built_in().with(REMINDER_FIRED).unwrap()
}

/// Rings for reminders, unless the bell is broken.
#[derive(Clone)]
struct Ring(Arc<AtomicBool>);

impl Effect for Ring {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn applies(&self, event: &Event) -> bool {
        event.event_type == REMINDER_FIRED
    }

    fn start(&self, _: &EffectContext) -> Option<Work> {
        Some(Work::External(Arc::new(self.clone())))
    }
}

#[async_trait]
impl ExternalWork for Ring {
    async fn prepare(&self, _: &Event, _: &Target) -> Result<Prepared, StoreError> {
        let broken = self.0.load(Ordering::Relaxed);
        Ok(Prepared::run(async move {
            if broken { Err(Failure::permanent("the bell is broken")) } else { Ok(Outcome::Done) }
        }))
    }
}

fn fired(id: i64, cause: Uuid) -> NewEvent {
    let subject = Subject { kind: REMINDER_FIRED.kind, id, version: 1 };
    let payload = json!({ "id": id, "version": 1, "text": "stand up" });
    let origin = Origin { causation_id: Some(cause), ..Origin::of(Actor::SYSTEM) };
    let owners = Owners { before: Some(1), after: Some(1) };
    NewEvent::new(REMINDER_FIRED, subject, payload, Utc::now(), origin, owners)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn another_kind_of_subject_is_carried_by_everything_that_carries_tasks() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let broken = Arc::new(AtomicBool::new(true));
    let effects = effects::built_in().with(Ring(Arc::clone(&broken))).ok().unwrap();
    let worker = Worker::knowing(&world, &smtp, types(), effects);
    // The publisher is that of the program, which has never heard of reminders.
    let serve = world.serve().await;
    let api = serve.api();
    let task = api.task("the task with the same id", None).await["id"].as_i64().unwrap();

    let (cause, db) = (Uuid::now_v7(), world.db().await);
    let new = fired(task, cause);
    let mut connection = worker.store.connection().await.unwrap();
    let writing =
        transaction(&mut connection, async |connection| outbox::write(connection, &new).await);
    writing.await.unwrap();
    drop(connection);
    let id = new.id.to_string();

    // It dies of its broken bell, and is shown by what it is about.
    let letters = DeadLetters::new(worker.store.clone()).of_types(types());
    let dead = eventually("its letter is moved", || async {
        let page = letters.list("open", &LetterFilter::default(), None, 10).await.unwrap();
        (page.total == 1).then_some(page.letters)
    })
    .await;
    let subject = dead[0].subject.clone().unwrap();
    assert_eq!((subject.kind.as_str(), subject.id), ("reminder", task));
    assert_eq!((dead[0].task_id, dead[0].event_id.clone()), (None, Some(id.clone())));

    // Replayed, it rings.
    broken.store(false, Ordering::Relaxed);
    let order = ReplayOrder {
        selection: LetterFilter::default(),
        dry_run: false,
        canary: 1,
        rate: None,
        max_failures: None,
    };
    let replay = letters.replay(&order, &Operator::of_command_line()).await.unwrap().replay;
    let replay = replay.unwrap();
    eventually("the replay ends", || async {
        let replay = letters.progress(replay.id).await.unwrap();
        (replay.state == "done" && replay.done == 1).then_some(())
    })
    .await;
    let done = [state("activity", None, "done"), state("ring", None, "done")];
    eventually("all is done", || async { (states(&api, &id).await == done).then_some(()) }).await;

    // The API tells it, and not as something that happened to a task.
    let found = api.get(&format!("/events/{id}")).await.expect(200);
    assert_eq!(found["type"], "REMINDER_FIRED");
    assert_eq!(found["subject"], json!({ "kind": "reminder", "id": task, "version": 1 }));
    assert_eq!((&found["taskId"], &found["taskVersion"]), (&Value::Null, &Value::Null));
    assert_eq!(found["actor"], json!({ "kind": "system", "id": null }));
    assert_eq!(found["causationId"], cause.to_string());
    assert_eq!(found["payload"]["text"], "stand up");
    let listed = api.get("/events").await.expect(200);
    assert!(listed["data"].as_array().unwrap().iter().any(|event| event["eventId"] == id.as_str()));
    let of_task = api.get(&format!("/events?taskId={task}")).await.expect(200);
    assert_eq!(of_task["data"].as_array().unwrap().len(), 1);

    // The log has it, under its own kind.
    let logged = format!("task_activity WHERE subject_kind = 'reminder' AND task_id = {task}");
    assert_eq!(db.count(&logged).await, 1);
    eventually("the task's own entry", || async {
        (db.count("task_activity").await == 2).then_some(())
    })
    .await;
    let activity = api.get(&format!("/tasks/{task}/activity?total=true")).await.expect(200);
    assert_eq!((activity["data"].as_array().unwrap().len(), &activity["total"]), (1, &json!(1)));
    worker.stop().await;
}

#[test]
fn a_type_that_cannot_be_one_is_refused() {
    assert!(types().with(REMINDER_FIRED).is_err());
    let no_schema = EventType { name: "OTHER", payload: || json!({ "type": 1 }), ..REMINDER_FIRED };
    assert!(types().with(no_schema).is_err());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_event_says_who_made_the_change_and_whose_the_task_was() {
    let house = House::new().await;
    let (world, member_id) = (&house.world, house.member_id);
    let session = sign_in(&house.anonymous(), "member@example.com", PASSWORD).await.expect(201);
    let signed_in = house.anonymous().with_token(session["token"].as_str().unwrap());
    let db = world.db().await;
    let token =
        |user: i64| format!("SELECT id FROM tokens WHERE user_id = {user} AND kind = 'api'");
    let (admin, member) = (db.number(&token(1)).await, db.number(&token(member_id)).await);

    // By a session, by a token, by another's token; and by a key, which is another statement.
    let task = signed_in.task("t", None).await["id"].as_i64().unwrap();
    let path = format!("/tasks/{task}");
    house.member.patch(&path, json!({ "status": "completed" })).await.expect(200);
    house.admin.patch(&path, json!({ "userId": 1 })).await.expect(200);
    house.admin.delete(&path).await.expect(204);
    let keyed = house.member.request("POST", "/tasks").header("Idempotency-Key", "\"k\"");
    assert_eq!(keyed.json(&json!({ "title": "keyed" })).send().await.unwrap().status(), 201);
    // The tasks of a user that is deleted change by whoever deletes the user.
    house.admin.delete(&format!("/users/{member_id}")).await.expect(204);

    let told = db
        .rows(
            "SELECT actor_kind, actor_id, user_before, user_after, task_version,
                    transaction_id::text AS transaction, subject_kind
             FROM events ORDER BY seq",
        )
        .await;
    let each = |name: &str| told.iter().map(|row| row[name].clone()).collect::<Vec<Value>>();
    assert_eq!(each("task_version"), [1, 2, 3, 4, 1, 2]);
    assert_eq!(each("actor_kind"), ["user", "token", "token", "token", "token", "token"]);
    assert_eq!(each("actor_id"), [member_id, member, admin, admin, member, admin]);
    let (none, own, theirs) = (Value::Null, json!(member_id), json!(1));
    let before = [&none, &own, &own, &theirs, &none, &own];
    let after = [&own, &own, &theirs, &none, &own, &none];
    assert_eq!(each("user_before").iter().collect::<Vec<_>>(), before);
    assert_eq!(each("user_after").iter().collect::<Vec<_>>(), after);
    assert!(each("transaction").iter().all(Value::is_string));

    // The message and the API say so too.
    let messages = world.amqp().await.take_all(&world.queue, 6).await;
    let first = messages
        .iter()
        .map(Raw::json)
        .find(|body| body["payload"]["id"] == task && body["payload"]["version"] == 1);
    let metadata = first.unwrap()["metadata"].clone();
    let actor = json!({ "kind": "user", "id": member_id });
    assert_eq!((&metadata["actor"], &metadata["causationId"]), (&actor, &Value::Null));
    let id = metadata["eventId"].as_str().unwrap();
    let found = house.admin.get(&format!("/events/{id}")).await.expect(200);
    assert_eq!((&found["actor"], &found["causationId"]), (&actor, &Value::Null));
    assert_eq!(found["subject"], json!({ "kind": "task", "id": task, "version": 1 }));
    assert_eq!((&found["taskId"], &found["taskVersion"]), (&json!(task), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn where_no_token_is_required_an_operator_has_done_it() {
    let world = World::new().await;
    let serve = world.serve().await;
    serve.api().task("t", Some(1)).await;
    let event = serve.api().get("/events").await.expect(200)["data"][0].clone();
    assert_eq!(event["actor"], json!({ "kind": "operator", "id": null }));
}

/// A message body as the version before wrote it.
fn old_body(event_id: Uuid, task: i64) -> Value {
    json!({
        "type": "TASK_CREATED",
        "payload": {
            "id": task, "title": "old", "description": null, "status": "pending", "userId": 1,
            "categoryId": null, "dueAt": null, "version": 1, "createdAt": "2026-11-20T10:00:00Z",
            "updatedAt": "2026-11-20T10:00:00Z", "completedAt": null,
        },
        "metadata": {
            "eventId": event_id, "timestamp": "2026-11-20T10:00:00Z", "source": "taskd",
            "schemaVersion": 1,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn messages_and_outbox_rows_of_the_version_before_are_understood() {
    let world = World::new().await;
    let (db, amqp, smtp) = (world.db().await, world.amqp().await, Smtp::start().await);
    world.declare().await;
    let signer = db.signer().await;
    // A message in the queue, a dead letter, and a row that nobody has published.
    let ids = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    let message = |id: Uuid, task: i64| Raw {
        body: old_body(id, task).to_string().into_bytes(),
        message_id: Some(id.to_string()),
        message_type: Some("TASK_CREATED".to_owned()),
        ..Raw::default()
    };
    amqp.publish(&world.queue, message(ids[0], 1).signed(&signer)).await;
    amqp.publish(&world.dlq, message(ids[1], 2).signed(&signer)).await;
    let payload = old_body(ids[2], 3)["payload"].to_string();
    db.run(&format!(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
         VALUES ('{}', 3, 1, 'TASK_CREATED', '{payload}', '2026-11-20T10:00:00Z')",
        ids[2]
    ))
    .await;

    let serve = world.serve().await;
    // What is published of the row has no member that the version before would refuse.
    let raw = amqp.take_all(&world.queue, 2).await;
    let published = raw.iter().find(|raw| raw.message_id == Some(ids[2].to_string())).unwrap();
    assert_eq!(published.json(), old_body(ids[2], 3));
    for raw in raw {
        amqp.publish(&world.queue, raw).await;
    }
    let work = world.work_mailing("new", &smtp).await;
    let letter = world.dead_letters(1).await.remove(0);
    assert_eq!(letter["subject"], json!({ "kind": "task", "id": 2, "version": 1 }));
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(3).await;
    eventually("all are logged", || async { (db.count("task_activity").await == 3).then_some(()) })
        .await;
    let event = serve.api().get(&format!("/events/{}", ids[2])).await.expect(200);
    assert_eq!((&event["actor"], &event["causationId"]), (&Value::Null, &Value::Null));
    assert_eq!(event["subject"], json!({ "kind": "task", "id": 3, "version": 1 }));
    drop(work);
}
