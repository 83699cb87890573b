//! Creating tasks, beside the same statement sent by pgbench.

use std::time::Duration;

use crate::Size;
use crate::report::{Reading, Target};
use crate::system::Program;
use crate::tools::{pgbench, wrk};
use taskd_testing::{World, eventually_within};

pub const POST: &str = r#"wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"title":"Write Docs","description":"Testing async","status":"in-progress","userId":1}'
"#;

/// The statement of `store::tasks::insert`, with values of the same size.
const INSERT: &str = r#"WITH task AS (
    INSERT INTO tasks (title, description, status, user_id, category_id, due_at, version,
                       created_at, updated_at, completed_at)
    VALUES ('Write Docs', 'Testing async', 'in-progress', 1, NULL, NULL, 1, now(), now(), NULL)
    RETURNING id)
INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
SELECT gen_random_uuid(), id, 1, 'TASK_CREATED', '{"id": 0, "title": "Write Docs", "description": "Testing async", "status": "in-progress", "userId": 1, "categoryId": null, "dueAt": null, "version": 1, "createdAt": "2026-11-24T06:03:14.546635Z", "updatedAt": "2026-11-24T06:03:14.546635Z", "completedAt": null}'::jsonb || jsonb_build_object('id', id), now() FROM task
RETURNING task_id;
"#;

/// How long the publisher may take for what is left. Longer than it ever does.
const PATIENCE: Duration = Duration::from_secs(180);

pub async fn run(size: Size, clients: usize) -> Vec<Reading> {
    let world = World::new().await;
    let limit =
        pgbench(&world.directory, world.database_url(), INSERT, clients, size.seconds()).await;
    drop(world);

    let world = World::new().await;
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
    let url = format!("{}/tasks", serve.api().base);
    let load = wrk(&world.directory, &url, POST, clients, size.seconds()).await;
    let db = world.db().await;
    const WAITING: &str = "SELECT count(*) FROM events WHERE published_at IS NULL";
    let waiting = db.number(WAITING).await;
    let memory = serve.memory();
    eventually_within(PATIENCE, "every event is published", || async {
        (db.number(WAITING).await == 0).then_some(())
    })
    .await;
    // In one statement: what the last clients have asked for may still be written.
    const WITHOUT: &str = "SELECT (SELECT count(*) FROM tasks) - (SELECT count(*) FROM events)";
    assert_eq!(db.number(WITHOUT).await, 0, "each task has its event");
    let events = db.count("events").await;
    let amqp = world.amqp().await;
    eventually_within(PATIENCE, "every event is in the queue", || async {
        (i64::from(amqp.count(&world.queue).await?) >= events).then_some(())
    })
    .await;
    amqp.close().await;

    let (least, slowest) =
        if clients == 1 { (0.6, Target::None) } else { (0.7, Target::AtMost(25.0)) };
    vec![
        Reading::new("tasks created a second", load.rate, Target::OfLimit(least))
            .beside(limit.rate),
        Reading::new("99 of 100 answers within, ms", load.p99, slowest).beside(limit.p99),
        Reading::new("unpublished at the end, s of load", waiting as f64 / load.rate, Target::None),
        Reading::new("memory of serve after it, MB", memory.now, Target::AtMost(60.0)),
        Reading::new("memory of serve at most, MB", memory.peak, Target::AtMost(60.0)),
    ]
}
