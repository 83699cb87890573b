//! Letters with headers that the AMQP client can't read.

use serde_json::{Value, json};

use taskd_testing::{Amqp, Raw, World, eventually, publish_unreadable};

/// Two letters that can be read, with one between them that can't.
async fn put(world: &World, amqp: &Amqp) {
    let plain =
        |id: &str| Raw { message_id: Some(id.into()), body: b"{}".to_vec(), ..Raw::default() };
    amqp.publish(&world.dlq, plain("first")).await;
    publish_unreadable(&world.dlq, "strange", b"{}").await;
    amqp.publish(&world.dlq, plain("last")).await;
    eventually("the queue has them", || async {
        (amqp.count(&world.dlq).await == Some(3)).then_some(())
    })
    .await;
}

fn by_id(letters: &[Value], id: &str) -> Value {
    let found: Vec<&Value> = letters.iter().filter(|letter| letter["eventId"] == id).collect();
    assert_eq!(found.len(), 1, "{id}: {letters:?}");
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_letter_that_the_client_cannot_read_is_moved_and_so_are_those_behind_it() {
    let world = World::new().await;
    world.declare().await;
    let amqp = world.amqp().await;
    put(&world, &amqp).await;
    // A command alone moves them.
    let letters = world.open_letters().await;
    assert_eq!(letters.len(), 3, "{letters:?}");
    let strange = by_id(&letters, "strange");
    assert_eq!(strange["headers"]["strange"], "\u{fffd}\u{fffd}");
    assert_eq!(strange["body"], json!({}));
    by_id(&letters, "first");
    by_id(&letters, "last");
    assert_eq!(amqp.count(&world.dlq).await, Some(0));

    // So does a worker, and it goes on doing so.
    let _work = world.work("w", &[]).await;
    put(&world, &amqp).await;
    world.dead_letters(6).await;
    publish_unreadable(&world.dlq, "another", b"{}").await;
    by_id(&world.dead_letters(7).await, "another");
    assert_eq!(amqp.count(&world.dlq).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_message_that_cuts_workers_off_ends_as_a_letter() {
    let world = World::new().await;
    let serve = world.serve().await;
    let _work = world.work("w", &[]).await;
    publish_unreadable(&world.queue, "strange", b"{}").await;
    serve.api().task("t", None).await;
    let letters = world.dead_letters(1).await;
    assert_eq!(letters[0]["eventId"], "strange");
    let db = world.db().await;
    eventually("the other is done", || async {
        (db.count("task_activity").await == 1).then_some(())
    })
    .await;
}
