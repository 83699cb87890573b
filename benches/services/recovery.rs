//! What a worker leaves behind when it is killed, or frozen, under load.

use std::time::Duration;

use chrono::Utc;

use crate::drains::fill;
use crate::report::{Reading, Target};
use crate::system::Program;
use taskd_testing::{World, eventually_within};

/// Longer than a broker takes to notice that a client is silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// What two workers have in hand at most, with the concurrency they come with.
const IN_HAND: i64 = 2 * 128;

/// So many that two workers are busy with them for longer than it takes to notice that they are.
const EVENTS: i64 = 50_000;

pub async fn killed() -> Vec<Reading> {
    run("KILL", "killed: the last of its messages elsewhere after, s", 2.0).await
}

pub async fn frozen() -> Vec<Reading> {
    run("STOP", "frozen: the last of its messages elsewhere after, s", 25.0).await
}

/// Events are in the queue in the order of their tasks. So whatever the two had in hand at the moment of the
/// signal is among the first so many: those processed by then, and as many more as they can have in hand.
async fn run(signal: &str, what: &'static str, most: f64) -> Vec<Reading> {
    let world = World::new().await;
    world.declare().await;
    fill(&world.queue, EVENTS as usize, None, &world.db().await.signer().await).await;
    let victim = Program::start(&world, &["work", "--name", "victim"], &[], "consuming").await;
    let other = Program::start(&world, &["work", "--name", "other"], &[], "consuming").await;
    let db = world.db().await;
    eventually_within(PATIENCE, "both are at work", || async {
        (db.count("task_activity").await > EVENTS / 20).then_some(())
    })
    .await;
    let at = Utc::now();
    victim.signal(signal);
    let known = db.count("task_activity").await + IN_HAND;
    assert!(known < EVENTS, "both are still at work when the one is hit");
    let theirs = format!("task_activity WHERE task_id <= {known}");
    eventually_within(PATIENCE, "what it had in hand is processed", || async {
        (db.count(&theirs).await == known).then_some(())
    })
    .await;
    let last = format!(
        "SELECT (extract(epoch FROM max(recorded_at) - timestamptz '{}') * 1000)::bigint FROM {theirs}",
        at.to_rfc3339()
    );
    let seconds = db.number(&last).await as f64 / 1_000.0;
    drop((victim, other));
    vec![Reading::new(what, seconds, Target::AtMost(most))]
}
