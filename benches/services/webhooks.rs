//! One worker that sends webhooks, beside raw posting of the same bodies by the same client library.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use taskd_testing::{World, eventually_within, http};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::endpoints::{Endpoint, Manner};
use crate::report::{Reading, Target};
use crate::system::Program;

/// Longer than the deliveries take.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// The endpoints: twenty, five of them dead, two slow, one flapping.
const HEALTHY: usize = 12;
const SLOW: usize = 2;
const DEAD: usize = 5;
/// How long a slow one takes.
const SLOWNESS: Duration = Duration::from_millis(500);
/// How long bodies are posted without taskd, and how many at a time to each endpoint: as many as a
/// worker has in flight to one that is well.
const RAW: Duration = Duration::from_secs(5);
const RAW_AT_ONCE: usize = 32;

/// Events that were published already, so that nothing but webhooks is to be done for them.
const EVENTS: &str = "
    INSERT INTO events (id, subject_kind, task_id, task_version, type, payload, occurred_at, published_at)
    SELECT gen_random_uuid(), 'task', n, 1, 'TASK_CREATED',
        jsonb_build_object('id', n, 'title', 'Write Docs', 'description', 'Testing async', 'status', 'in-progress',
            'userId', 1, 'categoryId', null, 'dueAt', null, 'version', 1, 'createdAt', now(), 'updatedAt', now(),
            'completedAt', null),
        now(), now()
    FROM generate_series(1, $1) n";

pub async fn run(events: usize) -> Vec<Reading> {
    let mut world = World::new().await;
    world.set("SECRET_KEY", "a-key-that-is-long-enough-for-a-bench");
    world.set("WEBHOOK_ALLOW", "127.0.0.1");
    let mut healthy = Vec::new();
    for _ in 0..HEALTHY {
        healthy.push(Endpoint::start(Manner::Healthy).await);
    }
    let raw = raw(&healthy).await;
    // What was posted raw is no event of the run.
    let mut healthy = Vec::new();
    for _ in 0..HEALTHY {
        healthy.push(Endpoint::start(Manner::Healthy).await);
    }
    let flapping = Endpoint::start(Manner::Flapping).await;
    let mut urls: Vec<String> = healthy.iter().map(|endpoint| endpoint.url.clone()).collect();
    urls.push(flapping.url.clone());
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let endpoint = Endpoint::start(Manner::Slow(SLOWNESS)).await;
        urls.push(endpoint.url.clone());
        slow.push(endpoint);
    }
    urls.extend((0..DEAD).map(|_| Endpoint::dead()));
    let serve = Program::start(&world, &["serve"], &[], "serving").await;
    for url in &urls {
        serve.api().post("/webhooks", json!({ "url": url })).await.expect(201);
    }
    serve.stop().await;
    let db = world.db().await;
    db.run(&EVENTS.replace("$1", &events.to_string())).await;
    db.run("ANALYZE events").await;

    let work = Program::start(&world, &["work"], &[], "working").await;
    let (began, worked) = (Instant::now(), work.processor_time());
    eventually_within(PATIENCE, "each healthy endpoint has each event", || async {
        healthy.iter().all(|endpoint| endpoint.distinct() == events).then_some(())
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    let share = (work.processor_time() - worked).as_secs_f64() / took;
    let others: usize = slow.iter().chain([&flapping]).map(Endpoint::distinct).sum();
    let delivered = (HEALTHY * events + others) as f64;
    let repeats: u32 = healthy.iter().map(Endpoint::repeats).sum();
    assert_eq!(repeats, 0, "a healthy endpoint has an event twice, and no worker died");
    let what = format!("{} deliveries", urls.len() * events);
    let memory = work.memory().peak;
    work.stop().await;
    vec![
        Reading::new(
            format!("{what}: delivered a second"),
            delivered / took,
            Target::AtLeast(3_000.0),
        )
        .beside(raw),
        Reading::new(format!("{what}: seconds for the healthy"), took, Target::None),
        Reading::new(format!("{what}: processors of work"), share, Target::None),
        Reading::new(format!("{what}: memory at most, MB"), memory, Target::None),
    ]
}

/// How many bodies a second the client library posts by itself.
async fn raw(endpoints: &[Endpoint]) -> f64 {
    let body = json!({
        "type": "TASK_CREATED",
        "payload": { "id": 1, "title": "Write Docs", "description": "Testing async", "status": "in-progress",
            "userId": 1, "categoryId": null, "dueAt": null, "version": 1, "createdAt": "2026-01-01T00:00:00.000000Z",
            "updatedAt": "2026-01-01T00:00:00.000000Z", "completedAt": null },
        "metadata": { "eventId": Uuid::nil(), "timestamp": "2026-01-01T00:00:00.000000Z", "source": "taskd",
            "schemaVersion": 1 },
    });
    let body = body.to_string();
    let client = http().pool_max_idle_per_host(RAW_AT_ONCE).build().unwrap();
    let posted = Arc::<AtomicUsize>::default();
    let began = Instant::now();
    let mut posting = JoinSet::new();
    for url in endpoints.iter().flat_map(|one| std::iter::repeat_n(one.url.clone(), RAW_AT_ONCE)) {
        let (client, body, posted) = (client.clone(), body.clone(), Arc::clone(&posted));
        posting.spawn(async move {
            while began.elapsed() < RAW {
                let id = Uuid::now_v7().to_string();
                let request = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("webhook-id", id)
                    .header("webhook-timestamp", "1767260000")
                    .header("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
                    .body(body.clone());
                request.send().await.unwrap().bytes().await.unwrap();
                posted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    posting.join_all().await;
    posted.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
