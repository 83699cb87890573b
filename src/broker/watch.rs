//! Knows the queues as the broker described them a moment ago, and keeps their metrics fresh. The
//! broker is asked when somebody looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{Broker, QueueState};
use crate::ground::telemetry::Metrics;

/// How long figures are good for: anybody may read metrics, and the broker is asked once for each
/// queue.
const FRESH: Duration = Duration::from_secs(2);
/// How long the broker may take. Longer than a scrape waits: what comes late is there at the next.
const PATIENCE: Duration = Duration::from_secs(4);
/// For how long a report may be told of. Nobody may have looked for hours.
const TOLD: Duration = Duration::from_secs(15);

/// What the broker last said of its queues.
#[derive(Default)]
pub struct QueueWatch {
    asking: tokio::sync::Mutex<()>,
    last: Mutex<Option<(Instant, QueueReport)>>,
}

/// What the broker has said of its queues, or that it has said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueReport {
    /// The queues; none while the broker is away.
    pub queues: Vec<QueueState>,
    /// Why the broker is away, and since when it is known to be.
    pub away: Option<(String, DateTime<Utc>)>,
}

impl QueueWatch {
    /// Sets the metrics of the queues to what the broker says, unless that was done a moment ago,
    /// or is being done. May be dropped at any time: the broker is asked in a task of its own.
    pub async fn refresh(watch: &Arc<QueueWatch>, broker: &Arc<dyn Broker>, metrics: &Metrics) {
        let (watch, broker, metrics) = (Arc::clone(watch), Arc::clone(broker), metrics.clone());
        // If it panics, the figures are those of before.
        let _ = tokio::spawn(async move {
            let Ok(_asking) = watch.asking.try_lock() else { return };
            if !watch.is_fresh() {
                let before = watch.last().as_ref().and_then(|(_, report)| report.away.clone());
                let report = ask(broker.as_ref(), &metrics, before).await;
                *watch.last() = Some((Instant::now(), report));
            }
        })
        .await;
    }

    /// What the broker last said of its queues, which it is asked for if that was not just now. It
    /// may take `patience` to answer; `None` if nothing is known of late.
    pub async fn report(
        watch: &Arc<QueueWatch>,
        broker: &Arc<dyn Broker>,
        metrics: &Metrics,
        patience: Duration,
    ) -> Option<QueueReport> {
        if !watch.is_fresh() {
            let _ = timeout(patience, QueueWatch::refresh(watch, broker, metrics)).await;
        }
        let last = watch.last();
        let told = last.as_ref().filter(|(at, _)| at.elapsed() < TOLD);
        told.map(|(_, report)| report.clone())
    }

    fn is_fresh(&self) -> bool {
        self.last().as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH)
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, QueueReport)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the broker. `before` is why it was away the last time, and since when.
async fn ask(
    broker: &dyn Broker,
    metrics: &Metrics,
    before: Option<(String, DateTime<Utc>)>,
) -> QueueReport {
    let why = match timeout(PATIENCE, broker.queues()).await {
        Ok(Ok(queues)) => {
            metrics.broker_up.set(1);
            show(&queues, metrics);
            return QueueReport { queues, away: None };
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the broker gives no answer within {} s", PATIENCE.as_secs()),
    };
    metrics.broker_up.set(0);
    // What was true before the outage is not shown as if it were true now.
    metrics.queue_messages.reset();
    metrics.queue_consumers.reset();
    let since = before.map_or_else(Utc::now, |(_, since)| since);
    QueueReport { queues: Vec::new(), away: Some((why, since)) }
}

fn show(queues: &[QueueState], metrics: &Metrics) {
    for queue in queues {
        let labels = [queue.name.as_str(), queue.role.as_str()];
        metrics.queue_messages.with_label_values(&labels).set(queue.messages as i64);
        if let Some(consumers) = queue.consumers {
            metrics.queue_consumers.with_label_values(&labels).set(consumers.into());
        }
    }
}
