//! `/readyz` and `/metrics`, asked all the time and by many, and while a dependency is frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use taskd_testing::{Api, Process, World, eventually};

const POLLERS: usize = 32;

/// Asks without a pause until told to stop; every answer is that all is well.
async fn poll(api: Api, stop: Arc<AtomicBool>) -> u32 {
    for asked in 0.. {
        if stop.load(Ordering::Relaxed) {
            return asked;
        }
        let ready = api.get("/readyz").await;
        assert_eq!(
            (ready.status, &ready.json()["status"]),
            (200, &"ok".into()),
            "{}",
            ready.json()
        );
    }
    0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn any_number_of_probes_at_once_disturb_nothing() {
    const EVENTS: i64 = 100;
    let world = World::new().await;
    let (serve, work) = (world.serve().await, world.work("w", &[]).await);
    let (db, stop) = (world.db().await, Arc::<AtomicBool>::default());
    let mut pollers = JoinSet::new();
    for process in [&serve, &work] {
        for _ in 0..POLLERS {
            pollers.spawn(poll(process.api(), Arc::clone(&stop)));
        }
    }
    for _ in 0..EVENTS {
        serve.api().task("t", None).await;
    }
    eventually("every event is published and has its effects", || async {
        let done = db.count("processed_messages WHERE state = 'done'").await;
        let left = db.count("events WHERE published_at IS NULL").await;
        (done >= EVENTS && left == 0).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut asked = 0;
    while let Some(polled) = pollers.join_next().await {
        asked += polled.unwrap();
    }
    assert!(asked > 0);
    for process in [&serve, &work] {
        assert!(!process.text().contains("panicked"), "{}", process.text());
    }
    assert_eq!(db.count("task_activity").await, EVENTS);
}

/// Less than a load balancer or a scraper has patience for, and far more than a busy machine needs beyond
/// the second in which the answer is due.
const IMPATIENCE: Duration = Duration::from_secs(3);

/// Whether all eight are answered in time.
async fn answers(process: &Process, path: &str) -> bool {
    let api = process.api().with_token(&format!("taskd_{}", "A".repeat(43)));
    let asking = (0..8).map(|_| tokio::time::timeout(IMPATIENCE, api.get(path)));
    let answers = futures_util::future::join_all(asking).await;
    for answer in answers.iter().flatten() {
        assert!([200, 503].contains(&answer.status), "{path}: {}", answer.status);
    }
    answers.iter().all(Result::is_ok)
}

/// If an answer waited for what is away, no round of three would do; on a busy machine one may not.
async fn answer_in_time(process: &Process) {
    for path in ["/readyz", "/metrics", "/healthz"] {
        let mut answered = false;
        for _ in 0..3 {
            answered = answered || answers(process, path).await;
        }
        assert!(answered, "{path} has no answer in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn they_answer_while_every_dependency_is_frozen() {
    let world = World::new().await;
    // Whoever connects is accepted by the system and never answered.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = frozen.local_addr().unwrap();
    let urls = [
        ("DATABASE_URL", format!("postgres://postgres@{place}/d")),
        ("RABBITMQ_URL", format!("amqp://{place}")),
        ("REDIS_URL", format!("redis://{place}")),
    ];
    let urls: Vec<(&str, &str)> = urls.iter().map(|(name, url)| (*name, url.as_str())).collect();
    // Also where the metrics are for admins, whom only the database knows.
    let mut urls = urls;
    urls.push(("METRICS_PUBLIC", "false"));
    let mut work = world.start(&["work", "--name", "w"], &urls);
    let serve = world.serve_with(&urls).await;
    work.wait_for_address("health and metrics").await;
    for process in [&serve, &work] {
        answer_in_time(process).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn they_answer_while_the_outbox_can_not_be_read() {
    let world = World::new().await;
    let serve = world.serve().await;
    let db = world.db().await;
    db.run("BEGIN; LOCK TABLE events").await;
    answer_in_time(&serve).await;
    db.run("ROLLBACK").await;
}
