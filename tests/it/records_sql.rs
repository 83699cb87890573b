//! That the SQL about records and the rules of the domain agree.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use taskd::domain::event::{Event, NewEvent};
use taskd::domain::processing::claim::{Claim, Record, decide};
use taskd::domain::processing::effect::{EffectKey, Target};
use taskd::domain::processing::failure::Failure;
use taskd::domain::processing::retention::{Outbox, Trace, may_forget};
use taskd::domain::processing::retry::Route;
use taskd::domain::processing::setback::Setback;
use taskd::ground::tls::Tls;
use taskd::store::delivery::processed::{self, EventRecord};
use taskd::store::delivery::retention;
use taskd::store::events::setbacks::{self, Reporter};
use taskd::store::{PostgresUrl, Store, activity};
use uuid::Uuid;

use crate::plans::created;
use taskd_testing::{Db, World};

fn store(world: &World) -> Store {
    Store::new(&PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap(), 2).unwrap()
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
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_claim_is_answered_by_the_rule_of_the_domain() {
    let world = World::new().await;
    let (db, store) = (world.db().await, store(&world));
    let cases: Vec<(EffectKey, EventRecord, Option<Record>)> =
        generated(400, (any_record(), any::<bool>(), 1_i16..3, prop::option::of("[a-z/]{1,5}")))
            .into_iter()
            .map(|(record, recorded, effects, target)| {
                let target = target.map_or(Target::ONLY, |name| Target::named(&name).unwrap());
                let effect = EffectKey { effect: "email", target };
                (effect, EventRecord { event_id: Uuid::new_v4(), effects, recorded }, record)
            })
            .collect();
    for (effect, event, record) in &cases {
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
             VALUES ('{}', '{effect}', '{state}', 'other', {until})",
            event.event_id
        ))
        .await;
    }
    let wanted: Vec<(EffectKey, EventRecord)> =
        cases.iter().map(|(effect, event, _)| (effect.clone(), *event)).collect();
    let mut connection = store.connection().await.unwrap();
    let lease = Duration::from_secs(25);
    let seen = processed::records(&mut connection, &wanted).await.unwrap();
    let granted = processed::claim(&mut connection, &wanted, "we".into(), lease).await;
    let granted = granted.unwrap();
    for (effect, event, record) in cases {
        let key = (event.event_id, effect.to_string());
        let read = seen.get(&key).copied();
        match (read, record) {
            (Some(Record::Claimed(read)), Some(Record::Claimed(left))) if !left.is_zero() => {
                assert!(read <= left && left - read < Duration::from_secs(60), "{read:?} {left:?}");
            }
            _ => assert_eq!(read, record),
        }
        let by_rule = decide(record, event.recorded) == Claim::Granted;
        let by_sql = granted.contains(&key);
        assert_eq!(by_sql, by_rule, "{record:?} {event:?}");
    }
}

/// Every record but a claim, and whether the message says that there is one.
fn states() -> impl Iterator<Item = (Option<&'static str>, bool)> {
    let states = [None, Some("open"), Some("done"), Some("skipped")];
    states.into_iter().flat_map(|state| [(state, false), (state, true)])
}

/// Makes a record of an effect, or none.
async fn record(db: &Db, event_id: Uuid, effect: &str, state: Option<&str>) {
    if let Some(state) = state {
        db.run(&format!(
            "INSERT INTO processed_messages (event_id, effect, state) VALUES ('{event_id}', '{effect}', '{state}')"
        ))
        .await;
    }
}

fn as_record(state: &str) -> Record {
    if state == "open" { Record::Open } else { Record::Done }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_database_effect_is_run_by_the_rule_of_the_domain() {
    let world = World::new().await;
    let (db, store) = (world.db().await, store(&world));
    let mut connection = store.connection().await.unwrap();
    let (_, new) = created();
    let key = EffectKey::only("activity");
    for (state, recorded) in states() {
        let event_id = Uuid::now_v7();
        record(&db, event_id, "activity", state).await;
        let event = Event::from(NewEvent { id: event_id, ..new.clone() });
        let entry = (&event, EventRecord { event_id, effects: 1, recorded });
        let rule = decide(state.map(as_record), recorded) == Claim::Granted;
        for (time, expected) in [rule, false].into_iter().enumerate() {
            let written = activity::record_once(&mut connection, &key, &[entry]).await.unwrap();
            assert_eq!(written.len(), usize::from(expected), "{state:?} {recorded} {time}");
        }
        let entries = format!("task_activity WHERE event_id = '{event_id}'");
        assert_eq!(db.count(&entries).await, i64::from(rule));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_failed_is_left_open_and_what_is_done_or_anothers_is_left_alone() {
    let world = World::new().await;
    let (db, store) = (world.db().await, store(&world));
    let mut connection = store.connection().await.unwrap();
    let lease = Duration::from_secs(60);
    let mut leave = async |event| {
        let email = EffectKey::only("email");
        let failures = Failure::transient("451 later").of(email.clone()).into();
        let route = Route::Retry { after: Duration::from_secs(1), attempt: 2 };
        let setback = Setback::of(route, 1, 5, &failures, Utc::now());
        let by = Reporter { worker: "w", owner: "we", letter: None };
        setbacks::record(&mut connection, event, std::slice::from_ref(&email), &setback, by)
            .await
            .unwrap();
        let left = processed::records(&mut connection, &[(email, event)]).await.unwrap();
        left.into_values().next()
    };
    for (state, recorded) in states() {
        let event_id = Uuid::now_v7();
        record(&db, event_id, "email", state).await;
        let left = leave(EventRecord { event_id, effects: 2, recorded }).await;
        // Of a recorded event what is missing is done: it stays missing.
        let missing = (!recorded).then_some(Record::Open);
        assert_eq!(left, state.map_or(missing, |s| Some(as_record(s))));
    }
    let mut other = store.connection().await.unwrap();
    for owner in ["we", "others"] {
        let event = EventRecord { event_id: Uuid::now_v7(), effects: 2, recorded: false };
        let wanted = [(EffectKey::only("email"), event)];
        let claim = processed::claim(&mut other, &wanted, owner.into(), lease).await;
        assert_eq!(claim.unwrap().len(), 1);
        let left = leave(event).await;
        assert_eq!(left == Some(Record::Open), owner == "we", "{left:?}");
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
    let event = (proptest::collection::vec(trace, 1..3), 1_usize..3, 0_usize..8);
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
        // Mostly gone from the outbox or published long ago, or hardly one could be forgotten.
        let (outbox, published) = match outbox {
            0 => (Outbox::Unpublished, Some("NULL".to_owned())),
            1 => (Outbox::Published(at(false)), Some(format!("'{}'", at(false).to_rfc3339()))),
            2..5 => (Outbox::Published(at(true)), Some(format!("'{}'", at(true).to_rfc3339()))),
            _ => (Outbox::Gone, None),
        };
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
        expected.push((id, may_forget(&traces, effects, outbox, horizon)));
    }
    let mut connection = store.connection().await.unwrap();
    // In small batches, so that those which end between two records of one event are met too.
    for _ in 0..1000 {
        if retention::forget_processed(&mut connection, horizon, 7).await.unwrap().examined == 0 {
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
