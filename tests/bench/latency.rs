//! How long it takes from a commit until its effect has begun, at a steady rate; beside what the broker alone takes
//! from a publisher to a consumer.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Size;
use crate::harness::{World, eventually_within};
use crate::limits;
use crate::report::{Reading, Target};
use crate::system::Program;

/// Longer than it takes until everything is processed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections are opened and statements prepared before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// From the moment a task was created, which is before its commit, to the beginning of the statement that
/// is the effect, both by the clock of this machine.
const ROAD: &str = "SELECT percentile_disc($1::float8) WITHIN GROUP (
        ORDER BY (extract(epoch FROM a.recorded_at - e.occurred_at) * 1000000)::bigint)
    FROM task_activity a JOIN events e ON e.id = a.event_id
    WHERE e.occurred_at > (SELECT min(occurred_at) FROM events) + interval '1 s'";

pub async fn run(size: Size, rate: u32) -> Vec<Reading> {
    let world = World::new().await;
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
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
    let (half, nearly_all) = limits::round_trip(&world, rate, count).await;
    let mut readings = Vec::new();
    for (what, part, most, limit) in
        [("half within, ms", 0.5, 3.0, half), ("99 of 100 within, ms", 0.99, 15.0, nearly_all)]
    {
        let road = db.number_of(ROAD, &[&part]).await as f64 / 1_000.0;
        readings.push(Reading::new(what, road, Target::AtMost(most)).beside(limit));
    }
    for (what, program) in
        [("memory of serve at most, MB", &serve), ("memory of work at most, MB", &work)]
    {
        readings.push(Reading::new(what, program.memory().peak, Target::AtMost(60.0)));
    }
    readings
}
