//! One worker and a full queue.

use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use crate::report::{Reading, Target};
use crate::sink::Sink;
use crate::system::Program;
use crate::{Size, limits};
use taskd_testing::{Amqp, Raw, Signer, World, eventually_within};

/// Longer than any drain takes.
const PATIENCE: Duration = Duration::from_secs(180);
const OUTCOMES: &str = "taskd_deliveries_total";

/// Publishes events of distinct tasks, and waits until the broker has them all.
pub async fn fill(queue: &str, count: usize, user: Option<i64>, signer: &Signer) {
    let amqp = Amqp::connect().await;
    for task in 1..=count {
        amqp.publish(queue, event(task, user).signed(signer)).await;
    }
    eventually_within(PATIENCE, "the queue is full", || async {
        (amqp.count(queue).await? as usize == count).then_some(())
    })
    .await;
    amqp.close().await;
}

fn event(task: usize, user: Option<i64>) -> Raw {
    let (id, now) = (Uuid::now_v7().to_string(), Utc::now());
    let body = json!({
        "type": "TASK_CREATED",
        "payload": {
            "id": task, "title": "Write Docs", "description": "Testing async",
            "status": "in-progress", "userId": user, "categoryId": null, "dueAt": null,
            "version": 1, "createdAt": now, "updatedAt": now, "completedAt": null,
        },
        "metadata": { "eventId": id, "timestamp": now, "source": "taskd", "schemaVersion": 1 },
    });
    Raw {
        body: body.to_string().into_bytes(),
        message_id: Some(id),
        message_type: Some("TASK_CREATED".to_owned()),
        ..Raw::default()
    }
}

/// A worker that has begun.
pub struct Drain {
    // Before the world, in the order in which they are dropped: a worker brings deleted queues back.
    work: Program,
    world: World,
    began: Instant,
    count: usize,
}

impl Drain {
    pub async fn start(
        count: usize,
        user: Option<i64>,
        flags: &[&str],
        more: &[(&str, &str)],
    ) -> Drain {
        Drain::start_in(World::new().await, count, user, flags, more).await
    }

    pub async fn start_in(
        world: World,
        count: usize,
        user: Option<i64>,
        flags: &[&str],
        more: &[(&str, &str)],
    ) -> Drain {
        // It declares the queues with the delays that the worker will have.
        let declared = world.run_with(&["topology", "declare"], more).await;
        declared.succeeded();
        fill(&world.queue, count, user, &world.db().await.signer().await).await;
        let arguments = [&["work"], flags].concat();
        let mut work = Program::start(&world, &arguments, more, "health and metrics").await;
        work.line("consuming").await;
        Drain { world, work, began: Instant::now(), count }
    }

    /// Events a second, up to when so many deliveries had one of these outcomes.
    pub async fn rate(&self, labels: &[&str]) -> f64 {
        let api = self.work.api();
        eventually_within(PATIENCE, "every event is seen", || async {
            let mut sum = 0.0;
            for label in labels {
                sum += api.metric(OUTCOMES, label).await;
            }
            (sum >= self.count as f64).then_some(())
        })
        .await;
        self.count as f64 / self.began.elapsed().as_secs_f64()
    }

    /// Whether everything is done, and each once.
    async fn check(&self) {
        let activity = self.world.db().await.count("task_activity").await;
        assert_eq!(activity, self.count as i64, "each event is in the activity log once");
        let amqp = self.world.amqp().await;
        assert_eq!(amqp.count(&self.world.queue).await, Some(0), "the queue is empty");
        assert_eq!(amqp.count(&self.world.dlq).await, Some(0), "nothing is dead");
        amqp.close().await;
    }

    pub fn memory_at_most(&self) -> f64 {
        self.work.memory().peak
    }

    fn memory(&self) -> Vec<Reading> {
        let memory = self.work.memory();
        vec![
            Reading::new("memory of work after it, MB", memory.now, Target::AtMost(60.0)),
            Reading::new("memory of work at most, MB", memory.peak, Target::AtMost(60.0)),
        ]
    }
}

pub async fn activity(size: Size) -> Vec<Reading> {
    let count = size.count(50_000);
    let drain = Drain::start(count, None, &[], &[]).await;
    let rate = drain.rate(&["processed"]).await;
    drain.check().await;
    let memory = drain.memory();
    drop(drain);
    let limit = limits::consume(&World::new().await, count).await;
    let mut readings = vec![
        Reading::new("events a second, beside consuming", rate, Target::OfLimit(0.2)).beside(limit),
        Reading::new("events a second", rate, Target::AtLeast(20_000.0)),
    ];
    readings.extend(memory);
    readings
}

pub async fn email(size: Size) -> Vec<Reading> {
    let sink = Sink::start().await;
    let count = size.count(10_000);
    let drain = Drain::start(count, Some(1), &[], &[("SMTP_URL", &sink.url)]).await;
    let rate = drain.rate(&["processed"]).await;
    drain.check().await;
    assert_eq!(sink.taken(), count, "each mail is sent once");
    let mut readings = vec![Reading::new("mails a second", rate, Target::AtLeast(3_000.0))];
    readings.extend(drain.memory());
    readings
}

/// All delays are the same and long, so that the first pass is over before anything comes back, and many, so
/// that nothing dies.
pub async fn retry(size: Size) -> Vec<Reading> {
    let rate = first_pass(size.count(20_000), &["3s"; 9].join(",")).await;
    vec![Reading::new("events a second, first pass", rate, Target::AtLeast(8_000.0))]
}

/// One in ten fails each time. Events a second until each was tried once; then every one must be done.
pub async fn first_pass(count: usize, delays: &str) -> f64 {
    let flags = ["--simulate-failure", "activity=0.1"];
    let drain = Drain::start(count, None, &flags, &[("RETRY_DELAYS", delays)]).await;
    let rate = drain.rate(&["processed", "retried"]).await;
    drain.rate(&["processed"]).await;
    drain.check().await;
    rate
}
