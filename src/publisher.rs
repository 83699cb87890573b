//! The publisher: takes events from the outbox to the broker.
//!
//! Lease a batch, publish it with confirms, mark what was confirmed together with the next lease. No
//! transaction is open while the broker is asked. A crash between confirm and mark publishes a batch twice,
//! which consumers expect; a crash before leaves it to whoever comes when the lease has run out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::broker::{Broker, BrokerError, Destination, Message, Outgoing};
use crate::domain::event::{Metadata, SCHEMA_VERSION, SOURCE};
use crate::shutdown::{Backoff, Shutdown};
use crate::store::outbox::{self, OutboxRow};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// How many events go at once: enough to keep the broker busy through a round trip.
const BATCH: i64 = 256;
/// How long a batch is ours. A publisher that was killed leaves its batch waiting for the rest of it.
const LEASE: Duration = Duration::from_secs(10);
/// When publishing is given up: before the lease ends, so that no other publisher sends the same.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(8);
/// How often to look for what another process has left behind, or has written without a publisher.
const POLL: Duration = Duration::from_millis(500);

/// Wakes the publisher of this process after a commit.
#[derive(Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// There is something in the outbox.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// See the module.
pub struct Publisher {
    store: Store,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
    nudge: Nudge,
    owner: Uuid,
    /// What the broker has confirmed, and is not marked yet.
    confirmed: Vec<Uuid>,
}

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Publisher {
    /// A publisher that wakes when `nudge` is woken.
    pub fn new(store: Store, broker: Arc<dyn Broker>, metrics: Metrics, nudge: Nudge) -> Publisher {
        let (owner, confirmed) = (Uuid::now_v7(), Vec::new());
        Publisher { store, broker, metrics, nudge, owner, confirmed }
    }

    /// Publishes until stopped, and then once more what is there.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        let mut failing = false;
        loop {
            let last = shutdown.stopped();
            let pause = match self.pass(failing).await {
                Ok(published) => {
                    if failing {
                        tracing::info!("publishing again");
                    }
                    failing = false;
                    backoff.reset();
                    if last && published < BATCH as usize {
                        // Nobody comes after to mark it with the next lease.
                        let _ = self.lease(0).await;
                        return;
                    }
                    (published == 0).then_some(POLL)
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "can't publish; events wait in the outbox");
                    }
                    failing = true;
                    Some(backoff.pause())
                }
            };
            match pause {
                None => {}
                Some(_) if last => return,
                // An outage is not shortened by more events.
                Some(pause) if failing => {
                    shutdown.sleep(pause).await;
                }
                Some(pause) => tokio::select! {
                    () = self.nudge.0.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.requested() => {}
                },
            }
        }
    }

    /// Marks what is confirmed, and takes so many events at most.
    async fn lease(&mut self, limit: i64) -> Result<Vec<OutboxRow>, StoreError> {
        let mut connection = self.store.connection().await?;
        let rows =
            outbox::mark_and_lease(&mut connection, &self.confirmed, self.owner, LEASE, limit)
                .await?;
        self.confirmed.clear();
        Ok(rows)
    }

    /// Publishes one batch and returns how many events it had. After a failure the broker is asked
    /// for a sign of life first, so that an outage doesn't lease and release the same events over
    /// and over.
    async fn pass(&mut self, after_failure: bool) -> Result<usize, PublishError> {
        if after_failure {
            self.broker.ping().await?;
        }
        let rows = self.lease(BATCH).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let count = rows.len();
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let messages =
            rows.iter().map(|row| Outgoing { to: Destination::Main, message: message(row) });
        let publishing = self.broker.publish(messages.collect());
        let answers = tokio::time::timeout(PUBLISH_TIMEOUT, publishing)
            .await
            .unwrap_or_else(|_| vec![Err(BrokerError::ConfirmTimeout(PUBLISH_TIMEOUT)); count]);

        let mut unconfirmed = Vec::new();
        let mut first_error = None;
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    tracing::debug!(event_id = %id, "published");
                    self.confirmed.push(id);
                }
                Err(error) => {
                    tracing::debug!(event_id = %id, %error, "not published");
                    unconfirmed.push(id);
                    first_error.get_or_insert(error);
                }
            }
        }
        self.metrics.events_published.inc_by(self.confirmed.len() as u64);
        self.metrics.publish_failures.inc_by(unconfirmed.len() as u64);
        let Some(error) = first_error else { return Ok(count) };
        self.lease(0).await?;
        outbox::release(&mut *self.store.connection().await?, self.owner, unconfirmed).await?;
        if matches!(error, BrokerError::Returned(_)) {
            // The queue is gone, not the broker: bring it back.
            self.broker.declare().await?;
            return Ok(count);
        }
        Err(error.into())
    }
}

/// The message of an event. The payload is passed on as the database has it, unread.
#[expect(clippy::expect_used, reason = "strings, numbers and a JSON text: always JSON")]
fn message(row: &OutboxRow) -> Message {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        r#type: &'a str,
        payload: Option<&'a RawValue>,
        metadata: Metadata,
    }
    let body = Body {
        r#type: &row.event_type,
        payload: serde_json::from_str(&row.payload).ok(),
        metadata: Metadata {
            event_id: row.id,
            timestamp: row.occurred_at,
            source: SOURCE.to_owned(),
            schema_version: SCHEMA_VERSION,
        },
    };
    Message {
        body: serde_json::to_vec(&body).expect("a body is JSON"),
        message_id: Some(row.id.to_string()),
        message_type: Some(row.event_type.clone()),
        content_type: Some("application/json".to_owned()),
        timestamp: u64::try_from(row.occurred_at.timestamp()).ok(),
        headers: serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Event, NewEvent};
    use crate::domain::task::{Status, Task, TaskFields};
    use chrono::Utc;

    #[test]
    fn what_is_published_is_an_event_by_its_schema() {
        let fields = TaskFields {
            title: "t".into(),
            description: None,
            status: Status::Pending,
            user_id: None,
            category_id: Some(3),
            due_at: None,
        };
        let task = Task { id: 7, ..Task::create(fields, Utc::now()) };
        let next =
            task.update(TaskFields { title: "u".into(), ..task.fields() }, Utc::now()).unwrap();
        let last = next.delete(Utc::now());
        for new in [
            NewEvent::created(task.clone()),
            NewEvent::updated(&task, next),
            NewEvent::deleted(last),
        ] {
            let row = OutboxRow {
                id: new.id,
                seq: 1,
                event_type: new.event_type.as_str().into(),
                payload: serde_json::to_string(&new.payload).unwrap(),
                occurred_at: new.payload.task.updated_at,
            };
            let message = message(&row);
            let event = Event::decode(
                &message.body,
                message.message_id.as_deref(),
                message.message_type.as_deref(),
            );
            assert_eq!(event.unwrap().payload, new.payload);
        }
    }
}
