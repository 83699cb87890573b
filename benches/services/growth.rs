//! What the size of things costs: the same work beside more and more of what is there already.

use std::time::{Duration, Instant};

use crate::Size;
use crate::drains::{self, Drain};
use crate::lists::fill_tasks;
use crate::report::{Reading, Target};
use crate::system::Program;
use taskd_testing::{Api, World, eventually_within};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(600);

fn reading(of: usize, what: &str, value: f64) -> Reading {
    Reading::new(format!("{of}: {what}"), value, Target::None)
}

/// A hundredth, in a short run.
fn sizes(size: Size, full: [usize; 3]) -> [usize; 3] {
    full.map(|count| if size.quick { count / 100 } else { count })
}

/// Lists that are not in the cache, from tables of these sizes. Twenty tasks are about something rare.
pub async fn lists(size: Size) -> Vec<Reading> {
    const KINDS: [(&str, &str); 9] = [
        ("newest", ""),
        ("by title", "&sort=title"),
        ("one status", "&status=completed"),
        ("one status, by due date", "&status=completed&sort=dueAt"),
        ("due in a stretch", "&sort=dueAt&dueAfter=2027-01-02T00:00:00Z"),
        ("a user with few tasks", "&userId=2"),
        ("search for what is rare", "&search=needle"),
        ("search for what is everywhere", "&search=docs"),
        ("with the total", "&total=true"),
    ];
    let mut readings = Vec::new();
    for count in sizes(size, [1_000, 100_000, 1_000_000]) {
        let world = World::new().await;
        world
            .db()
            .await
            .run("INSERT INTO users (email, created_at, updated_at) VALUES ('few@example.com', now(), now())")
            .await;
        fill_tasks(&world, count as i64).await;
        let rare = format!(
            "UPDATE tasks SET title = 'A needle ' || id, user_id = 2 WHERE id % {} = 0",
            (count / 20).max(1)
        );
        world.db().await.run(&rare).await;
        world.db().await.run("VACUUM ANALYZE tasks").await;
        let serve = Program::start(&world, &["serve"], &[], "serving").await;
        let api = serve.api();
        for (what, query) in KINDS {
            readings.push(reading(count, &format!("{what}, ms"), list(&api, query).await));
        }
        readings.push(reading(count, "each of 50 pages by cursor, ms", walk(&api).await));
    }
    readings
}

/// The median of some requests, each for another number of rows, so that none is cached; in milliseconds.
async fn list(api: &Api, query: &str) -> f64 {
    let mut times = Vec::new();
    for limit in 20..35 {
        let began = Instant::now();
        api.get(&format!("/tasks?limit={limit}{query}")).await.expect(200);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Milliseconds a page, from the first to the fiftieth.
async fn walk(api: &Api) -> f64 {
    let (mut cursor, mut pages) = (String::new(), 0);
    let began = Instant::now();
    while pages < 50 {
        let page = api.get(&format!("/tasks?limit=20{cursor}")).await.expect(200);
        pages += 1;
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    began.elapsed().as_secs_f64() * 1_000.0 / f64::from(pages)
}

/// The id of the event number `n`, made at the time `at`: a UUID of version 7.
const EVENT_ID: &str =
    "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000'
    || lpad(to_hex(n), 12, '0'))::uuid";

/// So many numbers `n` with times `at`, a tenth of a second apart, the last of them an hour ago.
fn old(count: usize) -> String {
    format!(
        "(SELECT n, now() - interval '1 h' - ({count} - n) * interval '100 ms' AS at
          FROM generate_series(1, {count}) AS n) AS t"
    )
}

/// Published events in the table.
async fn old_events(world: &World, count: usize) {
    let db = world.db().await;
    db.run(&format!(
        r#"INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
           SELECT {EVENT_ID},
                  n, 1, 'TASK_CREATED', '{{"id": 1, "title": "Write Docs", "description": "Testing async", "status": "in-progress", "userId": 1, "categoryId": null, "dueAt": null, "version": 1}}',
                  at, at
           FROM {}"#,
        old(count)
    ))
    .await;
    db.run("VACUUM ANALYZE events").await;
}

/// Publishing new events, and purging old ones, beside so many.
pub async fn outbox(size: Size) -> Vec<Reading> {
    let mut readings = Vec::new();
    for count in sizes(size, [100_000, 1_000_000, 10_000_000]) {
        let world = World::new().await;
        world.declare().await;
        old_events(&world, count).await;
        let db = world.db().await;
        let fresh = size.count(20_000);
        db.run(&format!(
            r#"INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
               SELECT gen_random_uuid(), n, 1, 'TASK_CREATED', '{{"id": 1}}', now()
               FROM generate_series(1, {fresh}) AS n"#
        ))
        .await;
        let began = Instant::now();
        let serve = Program::start(&world, &["serve"], &[], "serving").await;
        eventually_within(PATIENCE, "every event is published", || async {
            (db.count("events WHERE published_at IS NULL").await == 0).then_some(())
        })
        .await;
        let rate = fresh as f64 / began.elapsed().as_secs_f64();
        readings.push(reading(count, "published a second, from the start of serve", rate));
        drop(serve);
        // Of those that are old, this leaves all but the oldest tenth.
        let kept = 3_600 + count / 10 * 9 / 10;
        let retention = format!("{kept}s");
        let before = db.count("events").await;
        let began = Instant::now();
        let keep = [("EVENT_RETENTION", retention.as_str())];
        world.run_with(&["purge", "--once"], &keep).await.succeeded();
        let deleted = before - db.count("events").await;
        assert!(deleted > 0, "something is old enough");
        let rate = deleted as f64 / began.elapsed().as_secs_f64();
        readings.push(reading(count, &format!("purged a second ({deleted} of them)"), rate));
    }
    readings
}

/// Draining beside so many records of what is done.
pub async fn records(size: Size) -> Vec<Reading> {
    let mut readings = Vec::new();
    for count in sizes(size, [100_000, 1_000_000, 10_000_000]) {
        let world = World::new().await;
        let db = world.db().await;
        db.run(&format!(
            "INSERT INTO processed_messages (event_id, effect, state, touched_at)
             SELECT {EVENT_ID},
                    'activity', 'done', at
             FROM {}",
            old(count)
        ))
        .await;
        db.run("VACUUM ANALYZE processed_messages").await;
        let drain = Drain::start_in(world, size.count(20_000), None, &[], &[]).await;
        readings.push(reading(count, "events drained a second", drain.rate(&["processed"]).await));
    }
    readings
}

/// Draining backlogs of these sizes.
pub async fn backlog(size: Size) -> Vec<Reading> {
    let mut readings = Vec::new();
    for count in sizes(size, [10_000, 100_000, 1_000_000]) {
        let drain = Drain::start(count, None, &[], &[]).await;
        readings.push(reading(count, "events drained a second", drain.rate(&["processed"]).await));
        readings.push(reading(count, "memory of work at most, MB", drain.memory_at_most()));
    }
    readings
}

/// Draining with so many different waits between attempts, each a queue of its own; one event in ten fails
/// at first.
pub async fn waits(size: Size) -> Vec<Reading> {
    let mut readings = Vec::new();
    for count in [1_usize, 10, 100] {
        let waits: Vec<String> = (0..count).map(|n| format!("{}ms", 3_000 + n)).collect();
        let waits = if count == 1 { vec!["3s".to_owned(); 9] } else { waits };
        let rate = drains::first_pass(size.count(20_000), &waits.join(",")).await;
        readings.push(reading(count, "events a second, first pass", rate));
    }
    readings
}
