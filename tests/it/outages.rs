//! Services that stop, crash and freeze, and roles that are killed, all under traffic. Afterwards
//! everything must agree: tasks, events, activity, mails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use taskd_testing::{Api, Db, Private, Process, Smtp, World, eventually, eventually_within};

/// How many clients write and read back.
const CLIENTS: usize = 8;
/// Longer than the lease of a claim whose worker was killed, and then its pause in a delay queue.
const SETTLED: Duration = Duration::from_secs(90);

/// What the clients have met.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    created: AtomicU64,
    unavailable: AtomicU64,
    cut_off: AtomicU64,
}

/// Writes through one instance and reads back through the other, until told to stop. Only an
/// instance that was killed may leave a request without an answer, and only an outage of the
/// database may bring a 503.
async fn client(number: usize, apis: Arc<std::sync::RwLock<[Api; 2]>>, traffic: Arc<Traffic>) {
    for round in 0.. {
        if traffic.stop.load(Ordering::Relaxed) {
            return;
        }
        let (one, other) = {
            let apis = apis.read().unwrap();
            (apis[(number + round) % 2].clone(), apis[(number + round + 1) % 2].clone())
        };
        let input = json!({ "title": format!("{number}-{round}"), "userId": 1 });
        let Ok(created) = one.request("POST", "/tasks").json(&input).send().await else {
            traffic.cut_off.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        if created.status() == 503 {
            assert!(created.headers().contains_key("retry-after"));
            traffic.unavailable.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        assert_eq!(created.status(), 201);
        traffic.created.fetch_add(1, Ordering::Relaxed);
        let task: serde_json::Value = match created.json().await {
            Ok(task) => task,
            Err(_) => continue,
        };
        let path = format!("/tasks/{}", task["id"]);
        // Whatever is cached of it now must not be seen once the next write is answered.
        let Ok(read) = other.request("GET", &path).send().await else { continue };
        assert!([200, 503].contains(&read.status().as_u16()), "{}", read.status());
        let Ok(patched) = one.request("PATCH", &path).json(&json!({ "title": "new" })).send().await
        else {
            continue;
        };
        if patched.status() == 200
            && let Ok(read) = other.request("GET", &path).send().await
            && read.status() == 200
            && let Ok(read) = read.json::<serde_json::Value>().await
        {
            assert_eq!(read["title"], "new", "a read after an answered write was stale");
        }
    }
}

/// A system on services of its own, and traffic on it.
struct System {
    world: World,
    private: Private,
    smtp: Smtp,
    traffic: Arc<Traffic>,
    apis: Arc<std::sync::RwLock<[Api; 2]>>,
    clients: JoinSet<()>,
    serves: Vec<Process>,
    works: Vec<Process>,
}

impl System {
    async fn start() -> System {
        let world = World::new().await;
        let private = Private::start();
        let smtp = Smtp::start().await;
        let environment = environment(&private, &smtp);
        world.run_with(&["migrate", "--example"], &borrowed(&environment)).await.succeeded();
        let environment = borrowed(&environment);
        let serves =
            vec![world.serve_with(&environment).await, world.serve_with(&environment).await];
        let works =
            vec![world.work("one", &environment).await, world.work("two", &environment).await];
        let apis = Arc::new(std::sync::RwLock::new([serves[0].api(), serves[1].api()]));
        let traffic = Arc::new(Traffic::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(number, apis.clone(), traffic.clone()));
        }
        System { world, private, smtp, traffic, apis, clients, serves, works }
    }

    /// Waits until so many more tasks were created.
    async fn work_on(&self, more: u64) {
        let until = self.traffic.created.load(Ordering::Relaxed) + more;
        eventually("traffic goes on", || async {
            (self.traffic.created.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    async fn replace_serve(&mut self, index: usize) {
        self.serves[index].kill_9().await;
        let environment = environment(&self.private, &self.smtp);
        let serve = self.world.serve_with(&borrowed(&environment)).await;
        self.apis.write().unwrap()[index] = serve.api();
        self.serves[index] = serve;
    }

    async fn replace_work(&mut self, index: usize) {
        self.works[index].kill_9().await;
        let environment = environment(&self.private, &self.smtp);
        self.works[index] = self.world.work("another", &borrowed(&environment)).await;
    }

    /// Ends the traffic, waits for quiet, and compares everything with everything.
    async fn reconcile(mut self, repeated_mails_allowed: bool) {
        self.traffic.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let db = Db::connect(&self.private.environment()[0].1).await;
        eventually_within(SETTLED, "every event has had every effect", || async {
            let events = db.count("events").await;
            let done = db.count("processed_messages WHERE state = 'done'").await;
            // An event is marked when its confirm has come, which may be after it was processed.
            let unpublished = db.count("events WHERE published_at IS NULL").await;
            (done == 2 * events && unpublished == 0).then_some(())
        })
        .await;
        let created = self.traffic.created.load(Ordering::Relaxed) as i64;
        let events = db.count("events").await;
        assert!(db.count("tasks").await >= created, "an answered write is missing");
        assert_eq!(db.number("SELECT sum(version)::bigint FROM tasks").await, events);
        assert_eq!(db.count("task_activity").await, events);
        assert_eq!(db.number("SELECT count(DISTINCT event_id) FROM task_activity").await, events);
        assert_eq!(self.smtp.distinct_ids().len() as i64, events);
        if !repeated_mails_allowed {
            assert_eq!(
                self.smtp.mails().len() as i64,
                events,
                "a mail was repeated without a crash"
            );
        }
        let environment = environment(&self.private, &self.smtp);
        let letters =
            self.world.run_with(&["dlq", "list", "--json"], &borrowed(&environment)).await;
        assert_eq!(letters.succeeded().json(), json!([]));
        for process in self.serves.iter().chain(&self.works) {
            process.signal("TERM");
            assert!(process.exit().await.success());
        }
    }
}

fn environment(private: &Private, smtp: &Smtp) -> Vec<(&'static str, String)> {
    let delays = ("RETRY_DELAYS", "200ms,500ms,1s,2s".to_owned());
    private.environment().into_iter().chain([("SMTP_URL", smtp.url()), delays]).collect()
}

fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn services_that_stop_one_after_the_other_cost_time_and_nothing_else() {
    let system = System::start().await;
    system.work_on(200).await;
    // Writes go on without the broker, and without the cache.
    system.private.stop_rabbitmq();
    system.work_on(50).await;
    system.private.start_rabbitmq();
    system.work_on(200).await;
    system.private.stop_redis();
    system.work_on(50).await;
    system.private.start_redis();
    system.work_on(200).await;
    system.private.stop_postgres("fast");
    eventually("writes are refused", || async {
        (system.traffic.unavailable.load(Ordering::Relaxed) > 20).then_some(())
    })
    .await;
    system.private.start_postgres();
    system.work_on(200).await;
    system.reconcile(false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn crashes_and_freezes_lose_nothing_and_repeat_no_database_effect() {
    let mut system = System::start().await;
    system.work_on(100).await;
    system.private.kill_rabbitmq();
    system.work_on(20).await;
    system.private.start_rabbitmq();
    system.work_on(100).await;
    // A frozen cache comes back with all it had, which is stale by then.
    system.private.signal_redis("STOP");
    system.work_on(50).await;
    system.private.signal_redis("CONT");
    system.work_on(100).await;
    system.replace_work(0).await;
    system.work_on(50).await;
    system.replace_serve(0).await;
    system.work_on(50).await;
    system.private.stop_postgres("immediate");
    system.private.start_postgres();
    system.work_on(100).await;
    system.replace_serve(1).await;
    system.replace_work(1).await;
    system.work_on(100).await;
    system.reconcile(true).await;
}
