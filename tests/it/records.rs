//! What is on record about effects: how long it is kept, and that SQL and the rules of the domain
//! agree on it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use taskd::domain::claim::{Claim, Record, decide};
use taskd::domain::retention::{Trace, may_forget};
use taskd::store::processed::{self, Subject};
use taskd::store::{PostgresUrl, Store, retention};
use taskd::tls::Tls;
use uuid::Uuid;

use crate::harness::{Smtp, Verdict, World, eventually};

/// As if all of this world had happened so long ago.
const AGE: &str = "UPDATE processed_messages SET touched_at = touched_at - interval '40 days';
    UPDATE events SET published_at = published_at - interval '40 days'";

fn store(world: &World) -> Store {
    Store::new(&PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap(), 2).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_letter_replayed_after_the_retention_repeats_nothing_and_misses_nothing() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    world.dead_letters(1).await;
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
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    world.dead_letters(1).await;
    // What is left when a replay is interrupted between publishing and removing: the letter and a copy.
    let amqp = world.amqp().await;
    let letter = amqp.take(&world.dlq).await.unwrap();
    amqp.publish(&world.dlq, letter.clone()).await;
    world.dead_letters(1).await;

    smtp.set(Verdict::Accept);
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    smtp.wait_for(1).await;
    work.log("the success", |line| line["outcome"] == "processed").await;
    let db = world.db().await;
    db.run(AGE).await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["processedMessages"], 2, "{purged}");

    amqp.publish(&world.dlq, letter).await;
    world.dead_letters(1).await;
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    work.log("it is found done", |line| line["outcome"] == "duplicate").await;
    assert_eq!((smtp.mails().len(), db.count("task_activity").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_half_done_event_is_remembered_however_long_its_message_waits() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hang);
    let serve = world.serve().await;
    let killed = world.work_mailing("killed", &smtp).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for_hanging().await;
    killed.kill_9().await;
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

/// A record as the table has it, or none.
fn any_record() -> impl Strategy<Value = Option<Record>> {
    prop_oneof![
        Just(None),
        Just(Some(Record::Open)),
        Just(Some(Record::Done)),
        Just(Some(Record::Claimed(Duration::ZERO))),
        (60_u64..3600).prop_map(|seconds| Some(Record::Claimed(Duration::from_secs(seconds)))),
    ]
}

/// Values of a strategy, by a generator that is the same in every run.
fn generated<T: std::fmt::Debug>(count: usize, strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_claim_is_answered_by_the_rule_of_the_domain() {
    let world = World::new().await;
    let (db, store) = (world.db().await, store(&world));
    let cases: Vec<(Subject, Option<Record>)> =
        generated(400, (any_record(), any::<bool>(), 1_i16..3))
            .into_iter()
            .map(|(record, recorded, effects)| {
                (Subject { event_id: Uuid::new_v4(), effects, recorded }, record)
            })
            .collect();
    for (subject, record) in &cases {
        let (state, until) = match record {
            None => continue,
            Some(Record::Open) => ("open", "NULL".to_owned()),
            Some(Record::Done) => ("done", "NULL".to_owned()),
            Some(Record::Claimed(left)) if left.is_zero() => {
                ("claimed", "now() - interval '1 s'".to_owned())
            }
            Some(Record::Claimed(left)) => {
                ("claimed", format!("now() + interval '{} s'", left.as_secs()))
            }
        };
        db.run(&format!(
            "INSERT INTO processed_messages (event_id, effect, state, claimed_by, claimed_until)
             VALUES ('{}', 'email', '{state}', 'other', {until})",
            subject.event_id
        ))
        .await;
    }
    let subjects: Vec<Subject> = cases.iter().map(|(subject, _)| *subject).collect();
    let mut connection = store.connection().await.unwrap();
    let lease = Duration::from_secs(25);
    let ids = subjects.iter().map(|subject| subject.event_id).collect();
    let seen = processed::records(&mut connection, "email", ids).await.unwrap();
    let granted = processed::claim(&mut connection, "email", &subjects, "we".into(), lease).await;
    let granted = granted.unwrap();
    for (subject, record) in cases {
        let read = seen.get(&subject.event_id).copied();
        match (read, record) {
            (Some(Record::Claimed(read)), Some(Record::Claimed(left))) if !left.is_zero() => {
                assert!(read <= left && left - read < Duration::from_secs(60), "{read:?} {left:?}");
            }
            _ => assert_eq!(read, record),
        }
        let by_rule = decide(record, subject.recorded) == Claim::Granted;
        let by_sql = granted.contains(&subject.event_id);
        assert_eq!(by_sql, by_rule, "{record:?} {subject:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_purged_is_what_the_rule_of_the_domain_says() {
    const STATES: [&str; 4] = ["open", "claimed", "done", "skipped"];
    let world = World::new().await;
    let (db, store) = (world.db().await, store(&world));
    let horizon = Utc::now() - TimeDelta::days(30);
    // Mostly done and old, or hardly an event would be finished.
    let trace = (
        prop_oneof![1 => 0_usize..2, 4 => 2_usize..4],
        prop_oneof![1 => Just(false), 4 => Just(true)],
    );
    let event = (proptest::collection::vec(trace, 1..3), 1_usize..3, 0_u8..3);
    let mut expected = Vec::new();
    for (traces, effects, outbox) in generated(400, event) {
        let id = Uuid::new_v4();
        let at =
            |old: bool| -> DateTime<Utc> { horizon + TimeDelta::days(if old { -1 } else { 1 }) };
        for (number, (state, old)) in traces.iter().enumerate() {
            let state = STATES[*state];
            db.run(&format!(
                "INSERT INTO processed_messages (event_id, effect, state, effects, touched_at)
                 VALUES ('{id}', 'e{number}', '{state}', {effects}, '{}')",
                at(*old).to_rfc3339()
            ))
            .await;
        }
        // In the outbox unpublished, published, or gone from it.
        let published = ["NULL", "now()"].get(usize::from(outbox));
        if let Some(published) = published {
            db.run(&format!(
                "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
                 VALUES ('{id}', 1, 1, 'TASK_CREATED', '{{}}', now(), {published})"
            ))
            .await;
        }
        let traces: Vec<Trace> = traces
            .iter()
            .map(|(state, old)| Trace {
                done: ["done", "skipped"].contains(&STATES[*state]),
                touched_at: at(*old),
            })
            .collect();
        expected.push((id, may_forget(&traces, effects, outbox == 0, horizon)));
    }
    let mut connection = store.connection().await.unwrap();
    // In small batches, so that those which end between two records of one event are met too.
    for _ in 0..1000 {
        if retention::forget_processed(&mut connection, horizon, 7).await.unwrap().at == 0 {
            break;
        }
    }
    let left = db.rows("SELECT DISTINCT event_id FROM processed_messages").await;
    let forgotten = expected.iter().filter(|(_, forgotten)| *forgotten).count();
    assert!(forgotten > 20 && forgotten < 380, "both happen: {forgotten}");
    for (id, forgotten) in expected {
        assert_eq!(!left.contains(&json!({ "event_id": id })), forgotten, "{id}");
    }
}
