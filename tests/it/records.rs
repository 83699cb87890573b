//! What is on record about effects, and for how long: however late a message comes, nothing is repeated
//! and nothing is missed.

use amqprs::FieldValue;
use serde_json::Value;

use taskd_testing::{Db, Raw, Smtp, Verdict, World, eventually};

/// As if all of this world had happened so long ago.
const AGE: &str = "UPDATE processed_messages SET touched_at = touched_at - interval '40 days';
    UPDATE events SET published_at = published_at - interval '40 days'";

/// The only letter that was moved, as it was in the queue.
async fn kept(db: &Db) -> Raw {
    let row =
        db.rows("SELECT message, encode(body, 'escape') AS body FROM dead_letters").await.remove(0);
    let message: Value = serde_json::from_str(row["message"].as_str().unwrap()).unwrap();
    let mut headers = amqprs::FieldTable::new();
    for (name, value) in message["headers"].as_object().unwrap() {
        let value = match value {
            Value::Bool(flag) => FieldValue::t(*flag),
            Value::Number(number) => FieldValue::l(number.as_i64().unwrap()),
            text => FieldValue::from(text.as_str().unwrap().to_owned()),
        };
        headers.insert(name.as_str().try_into().unwrap(), value);
    }
    let mut properties = amqprs::BasicProperties::default();
    properties.with_headers(headers);
    let text = |name: &str| message[name].as_str().map(str::to_owned);
    Raw {
        body: row["body"].as_str().unwrap().as_bytes().to_vec(),
        message_id: text("message_id"),
        message_type: text("message_type"),
        properties,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_letter_replayed_after_the_retention_repeats_nothing_and_misses_nothing() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, work, _) = world.with_a_dead_letter(&smtp).await;
    let db = world.db().await;
    db.run(AGE).await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["processedMessages"], 0, "a mail is still to come: {purged}");

    smtp.set(Verdict::Accept);
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(1).await;
    work.log("the success", |line| line["outcome"] == "processed").await;
    assert_eq!(db.count("task_activity").await, 1, "not written again");
    db.run(AGE).await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["processedMessages"], 2, "now it is finished: {purged}");
    assert_eq!(db.count("processed_messages").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_second_copy_of_a_letter_finds_all_done_after_its_records_are_gone() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, work, _) = world.with_a_dead_letter(&smtp).await;
    // What is left when a mover is interrupted between writing and acking: the letter and its row.
    let (amqp, db) = (world.amqp().await, world.db().await);
    let letter = kept(&db).await;
    let moved = async || {
        amqp.publish(&world.dlq, letter.clone()).await;
        eventually("it is moved", || async { (amqp.count(&world.dlq).await? == 0).then_some(()) })
            .await;
    };
    moved().await;
    world.dead_letters(1).await;

    smtp.set(Verdict::Accept);
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(1).await;
    work.log("the success", |line| line["outcome"] == "processed").await;
    db.run(AGE).await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["processedMessages"], 2, "{purged}");

    moved().await;
    assert_eq!(world.open_letters().await.len(), 0, "it is the same letter");
    amqp.publish(&world.queue, letter).await;
    work.log("it is found done", |line| line["attempt"] == 3 && line["outcome"] == "processed")
        .await;
    assert_eq!((smtp.mails().len(), db.count("task_activity").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_half_done_event_is_remembered_however_long_its_message_waits() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let _serve = world.kill_in_mid_mail(&smtp).await;
    let db = world.db().await;
    db.run(AGE).await;
    db.run("UPDATE processed_messages SET claimed_until = claimed_until - interval '40 days'")
        .await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["processedMessages"], 0, "{purged}");
    smtp.set(Verdict::Accept);
    let _work = world.work_mailing("heir", &smtp).await;
    smtp.wait_for(1).await;
    eventually("both are done", || async {
        (db.count("processed_messages WHERE state = 'done'").await == 2).then_some(())
    })
    .await;
    assert_eq!(db.count("task_activity").await, 1, "not written again");
}
