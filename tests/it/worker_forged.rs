//! Messages of whoever else can publish to the queue: nothing in them is believed.

use amqprs::FieldValue;
use serde_json::json;

use taskd_testing::{Raw, Smtp, World, eventually};

use crate::roles_migrate::migrator_of;

/// A message with one header more, or another value of it.
fn with_header(message: &Raw, name: &str, value: FieldValue) -> Raw {
    let mut changed = message.clone();
    let mut headers = changed.properties.headers().cloned().unwrap_or_default();
    let name = name.try_into().unwrap();
    // The client counts the length of a value that is replaced as well.
    headers.remove(&name);
    headers.insert(name, value);
    changed.properties.with_headers(headers);
    changed
}

fn without_signature(message: &Raw) -> Raw {
    let mut changed = message.clone();
    changed.properties = amqprs::BasicProperties::default();
    changed
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_message_that_is_not_signed_as_it_is_is_a_dead_letter_before_anything_is_done() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    serve.api().task("t", Some(1)).await;
    let amqp = world.amqp().await;
    let genuine = amqp.take_all(&world.queue, 1).await.remove(0);

    let mut another_text = genuine.clone();
    let text = String::from_utf8(genuine.body.clone()).unwrap();
    another_text.body = text.replace("\"t\"", "\"pay here\"").into_bytes();
    assert_ne!(another_text.body, genuine.body);
    let mut another_id = genuine.clone();
    let id = genuine.message_id.clone().unwrap();
    let new_id = uuid::Uuid::now_v7().to_string();
    another_id.body = text.replace(&id, &new_id).into_bytes();
    another_id.message_id = Some(new_id);
    let forged = [
        without_signature(&genuine),
        with_header(&genuine, "taskd-signature", FieldValue::from("v1,AAAA".to_owned())),
        with_header(&genuine, "taskd-recorded", FieldValue::t(true)),
        with_header(&genuine, "taskd-attempt", FieldValue::l(1000)),
        with_header(&genuine, "taskd-history", FieldValue::from("[]".to_owned())),
        another_text,
        another_id,
        Raw { body: b"no event at all".to_vec(), ..Raw::default() },
    ];
    let work = world.work_mailing("w", &smtp).await;
    for message in &forged {
        amqp.publish(&world.queue, message.clone()).await;
    }
    for letter in world.dead_letters(forged.len()).await {
        assert_eq!(letter["reason"], "not ours", "{letter}");
        assert_eq!(letter["headers"].get("taskd-signature"), None, "{letter}");
    }
    let db = world.db().await;
    assert_eq!((db.count("task_activity").await, db.count("processed_messages").await), (0, 0));
    assert_eq!(smtp.mails().len(), 0);

    // Whoever replays them all does not make them ours.
    let replayed = world.run(&["dlq", "replay", "--all"]).await.exited(1);
    assert!(replayed.stdout.contains(&format!("{} failed again", forged.len())), "{replayed:?}");
    eventually("all have died again", || async {
        let dead = "outcome=\"dead\"";
        let dead = work.api().metric("taskd_deliveries_total", dead).await as usize;
        (dead == 2 * forged.len()).then_some(())
    })
    .await;
    assert_eq!(db.count("task_activity").await, 0);

    // None of it stands in the way of the event itself.
    amqp.publish(&world.queue, genuine).await;
    smtp.wait_for(1).await;
    let line = work.log("it is processed", |line| line["outcome"] == "processed").await;
    assert_eq!(line["attempt"], 1);
    assert_eq!(db.count("task_activity").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn messages_of_the_version_before_are_taken_until_the_date_that_the_migration_has_set() {
    let world = World::unmigrated().await;
    migrator_of(&world).await.up().unwrap();
    let db = world.db().await;
    let until = "SELECT count(*) FROM installation WHERE unsigned_until";
    assert_eq!(db.number(&format!("{until} = '-infinity'")).await, 1, "nothing came before");
    // Back to the version before, with an event of its own.
    let mut migrator = migrator_of(&world).await;
    while db.number("SELECT count(*) FROM pg_tables WHERE tablename = 'installation'").await == 1 {
        migrator.down().unwrap();
    }
    db.run(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
         VALUES (gen_random_uuid(), 1, 1, 'TASK_CREATED', '{}', now())",
    )
    .await;
    migrator.up().unwrap();
    drop(migrator);
    assert_eq!(db.number(&format!("{until} > now() + interval '6 days'")).await, 1);
    db.run("DELETE FROM events").await;

    let serve = world.serve().await;
    serve.api().task("t", None).await;
    let amqp = world.amqp().await;
    let unsigned = without_signature(&amqp.take_all(&world.queue, 1).await.remove(0));
    amqp.publish(&world.queue, unsigned).await;
    let work = world.work("w", &[]).await;
    work.log("it is processed", |line| line["outcome"] == "processed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_replay_that_can_not_sign_says_what_it_lacks_and_loses_nothing() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, _work, _) = world.with_a_dead_letter(&smtp).await;
    let mut command = world.command(&["dlq", "replay", "--all"], &[]);
    command.env_remove("DATABASE_URL");
    let refused = taskd_testing::run(command).await.exited(2);
    assert!(refused.stderr.contains("DATABASE_URL"), "{refused:?}");
    let letters = world.dead_letters(1).await;
    assert_eq!(letters[0]["reason"], json!("retries-exhausted"));
}
