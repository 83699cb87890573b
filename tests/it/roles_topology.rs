//! `taskd topology`: the queues as they are wanted and as they are.

use amqprs::{FieldTable, FieldValue};
use serde_json::{Value, json};

use taskd_testing::World;

fn arguments(pairs: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in pairs {
        table.insert((*name).try_into().unwrap(), value.clone());
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn declaring_twice_is_harmless_and_then_all_is_as_wanted() {
    let world = World::unmigrated().await;
    for _ in 0..2 {
        let declared = world.run(&["topology", "declare"]).await.succeeded();
        assert!(declared.stdout.contains("4 queues are as wanted"), "{declared:?}");
    }
    let checked = world.run(&["topology", "check"]).await.succeeded();
    assert!(checked.stdout.contains("4 queues are as wanted"), "{checked:?}");
    assert_eq!(world.run(&["topology", "check", "--json"]).await.succeeded().json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_are_shown_as_a_table_and_as_json() {
    let world = World::alone();
    let shown = world.run(&["topology", "show", "--json"]).await.succeeded().json();
    let queues = shown["queues"].as_array().unwrap();
    let names: Vec<&str> = queues.iter().map(|queue| queue["name"].as_str().unwrap()).collect();
    let retry = |delay: &str| format!("{}.{delay}", world.retry_prefix());
    assert_eq!(names, [&world.queue, &retry("100ms"), &retry("200ms"), &world.dlq]);
    for queue in queues {
        assert_eq!(queue["arguments"]["x-queue-type"], "quorum");
    }
    assert_eq!(queues[0]["arguments"]["x-dead-letter-routing-key"], json!(world.dlq));
    assert_eq!(queues[1]["arguments"]["x-dead-letter-routing-key"], json!(world.queue));
    assert_eq!(
        (&queues[1]["arguments"]["x-message-ttl"], &queues[2]["arguments"]["x-message-ttl"]),
        (&json!(100), &json!(200))
    );
    let table = world.run(&["topology", "show"]).await.succeeded().stdout;
    for name in names {
        assert!(table.contains(name), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_queue_with_another_argument_is_drift_and_says_which_wanted_and_found() {
    let world = World::new().await;
    world.declare().await;
    let amqp = world.amqp().await;
    amqp.delete(&world.queue).await;
    let differing = [
        ("x-queue-type", FieldValue::from("quorum".to_owned())),
        ("x-dead-letter-exchange", FieldValue::from(String::new())),
        ("x-dead-letter-routing-key", FieldValue::from(world.dlq.clone())),
        ("x-dead-letter-strategy", FieldValue::from("at-least-once".to_owned())),
        ("x-overflow", FieldValue::from("reject-publish".to_owned())),
        ("x-delivery-limit", FieldValue::l(7)),
    ];
    amqp.declare(&world.queue, arguments(&differing)).await;

    let checked = world.run(&["topology", "check"]).await.exited(1);
    for part in ["DRIFT", &world.queue, "x-delivery-limit", "'7'", "'20'", "delete it"] {
        assert!(checked.stdout.contains(part), "{part} is not in {}", checked.stdout);
    }
    let findings = world.run(&["topology", "check", "--json"]).await.exited(1).json();
    assert_eq!(findings.as_array().unwrap().len(), 1);
    assert_eq!((&findings[0]["queue"], &findings[0]["drift"]), (&json!(world.queue), &json!(true)));
    for command in [&["topology", "declare"][..], &["serve"], &["work"]] {
        let refused = world.run(command).await.exited(1);
        assert!(
            refused.stderr.contains("x-delivery-limit") && refused.stderr.contains(&world.queue),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_missing_queue_is_drift_and_is_not_made_by_looking() {
    let world = World::unmigrated().await;
    world.declare().await;
    let amqp = world.amqp().await;
    let missing = format!("{}.200ms", world.retry_prefix());
    amqp.delete(&missing).await;
    for _ in 0..2 {
        let checked = world.run(&["topology", "check"]).await.exited(1);
        assert!(
            checked.stdout.contains(&missing) && checked.stdout.contains("does not exist"),
            "{checked:?}"
        );
    }
    world.declare().await;
    world.run(&["topology", "check"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_delay_queue_left_over_from_other_delays_is_noted() {
    let world = World::unmigrated().await;
    world.declare().await;
    let other = [("RETRY_DELAYS", "100ms,5s")];
    world.run_with(&["topology", "declare"], &other).await.succeeded();
    // Untidy, but nothing that the system could not work with.
    let checked = world.run_with(&["topology", "check", "--json"], &other).await.succeeded().json();
    assert_eq!(checked.as_array().unwrap().len(), 1, "{checked}");
    assert_eq!(checked[0]["queue"], format!("{}.200ms", world.retry_prefix()));
    assert_eq!(checked[0]["drift"], Value::Bool(false));
    assert!(checked[0]["problem"].as_str().unwrap().contains("left over"), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn roles_declare_at_their_start_unless_told_not_to() {
    let world = World::new().await;
    let amqp = world.amqp().await;
    let serve = world.serve_with(&[("NO_DECLARE", "true")]).await;
    assert_eq!(amqp.count(&world.queue).await, None);
    drop(serve);
    let _serve = world.serve().await;
    for queue in [&world.queue, &world.dlq] {
        assert_eq!(amqp.count(queue).await, Some(0));
    }
}
