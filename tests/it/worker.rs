//! What a worker does when all goes well, or comes twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use taskd_testing::{Raw, Smtp, World, eventually};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_event_has_one_activity_entry_and_one_mail() {
    const TASKS: usize = 20;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let workers = tokio::join!(world.work_mailing("one", &smtp), world.work_mailing("two", &smtp));
    let api = serve.api();
    let user = api.user("ada@example.com").await;
    for number in 1..=TASKS {
        api.task(&format!("t{number}"), Some(user)).await;
    }
    api.patch("/tasks/1", json!({ "status": "completed" })).await.expect(200);
    api.delete("/tasks/2").await.expect(204);
    let events = TASKS + 2;
    smtp.wait_for(events).await;
    let db = world.db().await;
    eventually("every effect is recorded", || async {
        (db.count("processed_messages WHERE state = 'done'").await as usize == 2 * events)
            .then_some(())
    })
    .await;
    assert_eq!(db.count("task_activity").await as usize, events);
    assert_eq!(
        db.number("SELECT count(DISTINCT event_id) FROM task_activity").await as usize,
        events
    );
    assert_eq!(smtp.mails().len(), events);
    let ids: Vec<Value> = db.rows("SELECT id || '.email@taskd' AS id FROM events").await;
    let ids: BTreeSet<String> =
        ids.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(smtp.distinct_ids(), ids);
    for worker in [&workers.0, &workers.1] {
        assert!(worker.logs().iter().all(|line| line["level"] != "ERROR"), "{}", worker.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mail_says_what_happened_in_text_and_in_html() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let _work = world.work_mailing("w", &smtp).await;
    let api = serve.api();
    let user = json!({ "email": "ada@example.com", "name": "Ada", "password": "correct horse" });
    let user = api.post("/users", user).await.expect(201)["id"].clone();
    let input = json!({ "title": "Write <Docs>", "description": ".\n.dotted", "userId": user });
    api.post("/tasks", input).await.expect(201);
    smtp.wait_for(1).await;
    api.patch("/tasks/1", json!({ "status": "completed" })).await.expect(200);
    smtp.wait_for(2).await;
    api.delete("/tasks/1").await.expect(204);
    let mails = smtp.wait_for(3).await;
    let subjects: Vec<&str> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    assert_eq!(
        subjects,
        ["New task: Write <Docs>", "Task changed: Write <Docs>", "Task deleted: Write <Docs>"]
    );
    for mail in &mails {
        assert_eq!(mail.to, "ada@example.com");
        for part in
            ["Content-Type: multipart/alternative", "text/plain", "text/html", "Write &lt;Docs&gt;"]
        {
            assert!(mail.raw.contains(part), "{part} is not in {}", mail.raw);
        }
    }
    assert!(mails[0].raw.contains("\r\n.\r\n.dotted"), "{}", mails[0].raw);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_activity_of_a_task_can_be_read_and_outlives_it() {
    let world = World::new().await;
    let serve = world.serve().await;
    let _work = world.work("w", &[]).await;
    let api = serve.api();
    api.task("t", None).await;
    api.patch("/tasks/1", json!({ "title": "u" })).await.expect(200);
    api.delete("/tasks/1").await.expect(204);
    let entries = eventually("three entries", || async {
        let answer = api.get("/tasks/1/activity").await;
        let entries = if answer.status == 200 { answer.json()["data"].clone() } else { json!([]) };
        (entries.as_array().unwrap().len() == 3).then_some(entries)
    })
    .await;
    assert_eq!(api.get("/tasks/1/activity?total=true").await.expect(200)["total"], 3);
    let shown: Vec<(&Value, &Value, &Value)> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (&e["type"], &e["taskVersion"], &e["changes"]))
        .collect();
    let changes = json!({ "title": { "from": "t", "to": "u" } });
    assert_eq!(
        shown,
        [
            (&json!("TASK_DELETED"), &json!(3), &Value::Null),
            (&json!("TASK_UPDATED"), &json!(2), &changes),
            (&json!("TASK_CREATED"), &json!(1), &Value::Null),
        ]
    );
    let first = api.get("/tasks/1/activity?limit=2").await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = api.get(&format!("/tasks/1/activity?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((&second["data"][0], &second["nextCursor"]), (&entries[2], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_task_without_a_user_sends_no_mail() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let _work = world.work_mailing("w", &smtp).await;
    let api = serve.api();
    api.task("nobody's", None).await;
    api.task("somebody's", Some(1)).await;
    let mails = smtp.wait_for(1).await;
    let db = world.db().await;
    eventually("both are done", || async { (db.count("task_activity").await == 2).then_some(()) })
        .await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "New task: somebody's");
    assert_eq!(db.count("processed_messages WHERE effect = 'email'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mail_to_a_user_who_is_gone_is_recorded_as_skipped() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    let user = api.user("ada@example.com").await;
    api.task("t", Some(user)).await;
    api.delete(&format!("/users/{user}")).await.expect(204);
    let _work = world.work_mailing("w", &smtp).await;
    let db = world.db().await;
    eventually("both events are done", || async {
        (db.count("task_activity").await == 2).then_some(())
    })
    .await;
    let skipped =
        "SELECT state, note FROM processed_messages WHERE effect = 'email' AND state <> 'claimed'";
    let rows = eventually("the mail is skipped", || async {
        let rows = db.rows(skipped).await;
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    assert_eq!(rows, [json!({ "state": "skipped", "note": "the user is gone" })]);
    assert_eq!(smtp.mails().len(), 0);
    assert_eq!(world.open_letters().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn copies_of_a_message_at_two_workers_have_their_effects_once() {
    const COPIES: usize = 30;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    serve.api().task("t", Some(1)).await;
    let amqp = world.amqp().await;
    let original = amqp.take_all(&world.queue, 1).await.remove(0);
    let (one, two) =
        tokio::join!(world.work_mailing("one", &smtp), world.work_mailing("two", &smtp));
    for _ in 0..COPIES {
        amqp.publish(&world.queue, original.clone()).await;
    }
    let sum = async |name: &str, labels: &str| {
        one.api().metric(name, labels).await + two.api().metric(name, labels).await
    };
    eventually("every copy is settled", || async {
        let settled = sum("taskd_deliveries_total", "outcome=\"processed\"").await
            + sum("taskd_deliveries_total", "outcome=\"duplicate\"").await;
        (settled as usize == COPIES).then_some(())
    })
    .await;
    assert_eq!(smtp.mails().len(), 1);
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, 1);
    // Exactly one copy sent the mail; every other found it sent.
    assert_eq!(
        sum("taskd_duplicates_skipped_total", "effect=\"email\"").await as usize,
        COPIES - 1
    );
    assert_eq!(world.open_letters().await.len(), 0);
    // Long afterwards it is the same.
    amqp.publish(&world.queue, original).await;
    eventually("the late copy is settled", || async {
        (sum("taskd_duplicates_skipped_total", "effect=\"email\"").await as usize == COPIES)
            .then_some(())
    })
    .await;
    assert_eq!((smtp.mails().len(), db.count("task_activity").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn versions_that_arrive_in_the_wrong_order_are_all_processed() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", Some(1)).await;
    api.patch("/tasks/1", json!({ "title": "u" })).await.expect(200);
    api.delete("/tasks/1").await.expect(204);
    let amqp = world.amqp().await;
    let mut messages: Vec<Raw> = amqp.take_all(&world.queue, 3).await;
    messages.reverse();
    let _work = world.work_mailing("w", &smtp).await;
    for message in messages {
        amqp.publish(&world.queue, message).await;
    }
    smtp.wait_for(3).await;
    let entries = eventually("three entries", || async {
        let answer = api.get("/tasks/1/activity").await;
        let entries = if answer.status == 200 { answer.json()["data"].clone() } else { json!([]) };
        (entries.as_array().unwrap().len() == 3).then_some(entries)
    })
    .await;
    let versions: Vec<i64> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["taskVersion"].as_i64().unwrap())
        .collect();
    assert_eq!(versions, [3, 2, 1], "by version, however they arrived");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_a_mail_server_mails_are_files() {
    let world = World::new().await;
    let serve = world.serve().await;
    let _work = world.work("w", &[]).await;
    serve.api().task("Write Docs", Some(1)).await;
    let id =
        world.db().await.rows("SELECT id FROM events").await[0]["id"].as_str().unwrap().to_owned();
    let path = world.directory.join(".taskd/mail").join(format!("{id}.email@taskd.eml"));
    let mail = eventually("the file", || async { std::fs::read_to_string(&path).ok() }).await;
    assert!(mail.contains("Subject: New task: Write Docs"), "{mail}");
}
