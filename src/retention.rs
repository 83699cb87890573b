//! Deletes what has outlived its retention.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::processing::retention::horizon;
use crate::ground::shutdown::Shutdown;
use crate::ground::telemetry::Metrics;
use crate::store::delivery::retention::{self, PurgeBatch};
use crate::store::letters::{audit, settling};
use crate::store::operation::minutes;
use crate::store::webhooks::fan_out;
use crate::store::{Connection, Store, StoreError};

/// How many rows one statement deletes: the work of a fraction of a second, so that nothing waits
/// long for our locks.
const BATCH: i64 = 5_000;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// The records of an event whose effects are all done. If a second copy of its message waits
    /// longer than this before a worker takes it, the effects run again.
    pub processed: Duration,
    /// Published events.
    pub events: Duration,
    /// The activity log.
    pub activity: Duration,
    /// Failed attempts, and what else is told of events.
    pub attempts: Duration,
    /// Dead letters that are settled, and replays that have ended.
    pub letters: Duration,
    /// The audit log.
    pub audit: Duration,
    /// What was done in each minute.
    pub history: Duration,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// Rows of `processed_messages`.
    pub processed_messages: usize,
    /// Rows of `events`.
    pub events: usize,
    /// Rows of `task_activity`.
    pub task_activity: usize,
    /// Rows of `event_steps`.
    pub event_steps: usize,
    /// Rows of `dead_letters`.
    pub dead_letters: usize,
    /// Rows of `replays`.
    pub replays: usize,
    /// Rows of `audit`.
    pub audit: usize,
    /// Rows of `activity_minutes`.
    pub activity_minutes: usize,
    /// Rows of `idempotency_keys`.
    pub idempotency_keys: usize,
    /// Rows of `tokens`.
    pub tokens: usize,
}

/// Deletes what is too old at `now`, batch by batch, until nothing is left or `shutdown` says stop.
/// `None` if another process is purging.
///
/// # Errors
/// The database fails; what was deleted until then stays deleted.
pub async fn purge(
    store: &Store,
    keep: Retention,
    now: DateTime<Utc>,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Option<Purged>, StoreError> {
    let mut connection = store.connection().await?;
    if !retention::try_lock(&mut connection).await? {
        return Ok(None);
    }
    let purged = delete(&mut connection, keep, now, metrics, shutdown).await;
    if purged.is_err() || retention::unlock(&mut connection).await.is_err() {
        // The lock ends with the connection, so that it doesn't keep out the next purge.
        Store::discard(connection);
    }
    purged.map(Some)
}

async fn delete(
    connection: &mut Connection,
    keep: Retention,
    now: DateTime<Utc>,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Purged, StoreError> {
    let mut delete = Deletion { connection, metrics, shutdown };
    let (processed, events) = (horizon(now, keep.processed), horizon(now, keep.events));
    let (activity, attempts) = (horizon(now, keep.activity), horizon(now, keep.attempts));
    let (letters, audited) = (horizon(now, keep.letters), horizon(now, keep.audit));
    let history = horizon(now, keep.history);
    Ok(Purged {
        processed_messages: delete
            .all("processed_messages", async |c| {
                retention::forget_processed(c, processed, BATCH).await
            })
            .await?,
        events: delete
            .all("events", async |c| {
                // What was not looked at for webhooks yet stays.
                let read = fan_out::seen_at(c).await?.unwrap_or(events);
                retention::delete_published(c, events.min(read), BATCH).await.map(all)
            })
            .await?,
        task_activity: delete
            .all("task_activity", async |c| {
                retention::delete_activity(c, activity, BATCH).await.map(all)
            })
            .await?,
        event_steps: delete
            .all("event_steps", async |c| {
                retention::delete_steps(c, attempts, BATCH).await.map(all)
            })
            .await?,
        dead_letters: delete
            .all("dead_letters", async |c| settling::forget(c, letters, BATCH).await.map(all))
            .await?,
        replays: delete
            .all("replays", async |c| settling::forget_replays(c, letters, BATCH).await.map(all))
            .await?,
        audit: delete
            .all("audit", async |c| audit::forget(c, audited, BATCH).await.map(all))
            .await?,
        activity_minutes: delete
            .all("activity_minutes", async |c| minutes::forget(c, history, BATCH).await.map(all))
            .await?,
        idempotency_keys: delete
            .all("idempotency_keys", async |c| {
                retention::delete_idempotency_keys(c, now, BATCH).await.map(all)
            })
            .await?,
        tokens: delete
            .all("tokens", async |c| retention::delete_expired_tokens(c, now, BATCH).await.map(all))
            .await?,
    })
}

/// The result of a batch from a table whose old rows are all deleted.
fn all(deleted: usize) -> PurgeBatch {
    PurgeBatch { examined: deleted, deleted }
}

struct Deletion<'a> {
    connection: &'a mut Connection,
    metrics: &'a Metrics,
    shutdown: &'a Shutdown,
}

impl Deletion<'_> {
    /// Deletes batches from a table until one was not full or it is time to stop. Returns how many
    /// rows were deleted.
    async fn all(
        &mut self,
        table: &str,
        batch: impl AsyncFn(&mut Connection) -> Result<PurgeBatch, StoreError>,
    ) -> Result<usize, StoreError> {
        let mut rows = 0;
        loop {
            let PurgeBatch { examined, deleted } = batch(self.connection).await?;
            rows += deleted;
            self.metrics.purged.with_label_values(&[table]).inc_by(deleted as u64);
            if examined < BATCH as usize || self.shutdown.stopped() {
                return Ok(rows);
            }
        }
    }
}
