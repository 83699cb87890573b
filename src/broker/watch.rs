//! Keeps the metrics of the queues fresh, by asking the broker when somebody looks at them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Broker;
use crate::ground::telemetry::Metrics;

/// How long figures are good for: anybody may read metrics, and the broker is asked once for each
/// queue.
const FRESH: Duration = Duration::from_secs(2);
/// How long the broker may take. Longer than a scrape waits: what comes late is there at the next.
const PATIENCE: Duration = Duration::from_secs(4);

/// When the broker was last asked about its queues.
#[derive(Default)]
pub struct QueueWatch(Mutex<Option<Instant>>);

impl QueueWatch {
    /// Sets the metrics of the queues to what the broker says, unless that was done a moment ago,
    /// or is being done. May be dropped at any time: the broker is asked in a task of its own.
    pub async fn refresh(watch: &Arc<QueueWatch>, broker: &Arc<dyn Broker>, metrics: &Metrics) {
        let (watch, broker, metrics) = (Arc::clone(watch), Arc::clone(broker), metrics.clone());
        // If it panics, the figures are those of before.
        let _ = tokio::spawn(async move {
            let Ok(mut asked) = watch.0.try_lock() else { return };
            if asked.is_none_or(|at| at.elapsed() >= FRESH) {
                ask(broker.as_ref(), &metrics).await;
                *asked = Some(Instant::now());
            }
        })
        .await;
    }
}

async fn ask(broker: &dyn Broker, metrics: &Metrics) {
    let Ok(Ok(queues)) = timeout(PATIENCE, broker.queues()).await else {
        metrics.broker_up.set(0);
        // What was true before the outage is not shown as if it were true now.
        metrics.queue_messages.reset();
        metrics.queue_consumers.reset();
        return;
    };
    metrics.broker_up.set(1);
    for queue in queues {
        let labels = [queue.name.as_str(), queue.role.as_str()];
        metrics.queue_messages.with_label_values(&labels).set(queue.messages as i64);
        if let Some(consumers) = queue.consumers {
            metrics.queue_consumers.with_label_values(&labels).set(consumers.into());
        }
    }
}
