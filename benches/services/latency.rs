//! How long it takes from a commit until its effect has begun, at a steady rate; beside what the broker alone takes
//! from a publisher to a consumer.

use std::collections::HashMap;
use std::time::Duration;

use chrono::DateTime;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::report::{Reading, Target};
use crate::system::Program;
use crate::{Size, limits};
use taskd_testing::{World, eventually_within};

/// Longer than it takes until everything is processed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections are opened and statements prepared before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// What `serve` logs, so that it says when it has learnt of each commit.
const COMMITS: &str = "info,taskd::publisher::handover=debug";

/// When the statement began that is an event's effect, and when its task was created, which is before the commit; in
/// microseconds, by the clock of this machine.
const EFFECTS: &str = "SELECT a.event_id::text AS id,
        (extract(epoch FROM a.recorded_at) * 1000000)::bigint AS effect,
        (extract(epoch FROM e.occurred_at) * 1000000)::bigint AS created
    FROM task_activity a JOIN events e ON e.id = a.event_id
    WHERE e.occurred_at > (SELECT min(occurred_at) FROM events) + interval '1 s'";

pub async fn run(size: Size, rate: u32) -> Vec<Reading> {
    let world = World::new().await;
    let serve = Program::start(&world, &["serve"], &[("LOG", COMMITS)], "serving").await;
    let mut work = Program::start(&world, &["work"], &[], "health and metrics").await;
    work.line("consuming").await;

    let count = rate * (size.seconds() as u32 + WARM_UP.as_secs() as u32);
    let api = serve.api();
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for number in 0..count {
        sleep_until(began + Duration::from_secs(1) * number / rate).await;
        let api = api.clone();
        requests.spawn(async move {
            let task = json!({ "title": "Write Docs", "description": "Testing async" });
            api.post("/tasks", task).await.expect(201);
        });
    }
    while let Some(answered) = requests.join_next().await {
        answered.unwrap();
    }
    let db = world.db().await;
    eventually_within(PATIENCE, "every event has its effect", || async {
        (db.count("task_activity").await == i64::from(count)).then_some(())
    })
    .await;
    let log = serve.log();
    let committed = commits(&log);
    let (mut from_commit, mut from_creation) = (Vec::new(), Vec::new());
    for row in db.rows(EFFECTS).await {
        let microseconds = |column: &str| row[column].as_i64().unwrap();
        let commit = committed[row["id"].as_str().unwrap()];
        let milliseconds = |since: i64| (microseconds("effect") - since) as f64 / 1_000.0;
        from_commit.push(milliseconds(commit));
        from_creation.push(milliseconds(microseconds("created")));
    }
    let (half, nearly_all) = limits::half_and_nearly_all(from_commit);
    let (half_with_write, nearly_all_with_write) = limits::half_and_nearly_all(from_creation);
    let (half_limit, nearly_all_limit) = limits::round_trip(&world, rate, count).await;
    let mut readings = vec![
        Reading::new("half within, ms", half, Target::AtMost(3.0)).beside(half_limit),
        Reading::new("99 of 100 within, ms", nearly_all, Target::AtMost(15.0))
            .beside(nearly_all_limit),
        Reading::new("half within, with the write, ms", half_with_write, Target::None),
        Reading::new("99 of 100 within, with the write, ms", nearly_all_with_write, Target::None),
    ];
    for (what, program) in
        [("memory of serve at most, MB", &serve), ("memory of work at most, MB", &work)]
    {
        readings.push(Reading::new(what, program.memory().peak, Target::AtMost(60.0)));
    }
    readings
}

/// When `serve` had the answer that an event's change is committed, by the event, in microseconds.
fn commits(log: &str) -> HashMap<&str, i64> {
    let lines = log.lines().filter_map(|line| line.split_once(" DEBUG committed event_id="));
    lines
        .map(|(at, id)| (id, DateTime::parse_from_rfc3339(at).unwrap().timestamp_micros()))
        .collect()
}
