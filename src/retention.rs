//! Forgetting what has outlived its retention.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::shutdown::Shutdown;
use crate::store::{Connection, Store, StoreError, retention};
use crate::telemetry::Metrics;

/// How many rows one statement deletes: a fraction of a second's work, so that nothing waits long
/// for a lock of ours.
const BATCH: i64 = 5_000;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// The records of what is done. A message that comes after its record is forgotten would have
    /// its effects again, so this must be longer than any message can be under way.
    pub processed: Duration,
    /// Published events.
    pub events: Duration,
    /// The activity log.
    pub activity: Duration,
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
    /// Rows of `idempotency_keys`.
    pub idempotency_keys: usize,
    /// Rows of `tokens`.
    pub tokens: usize,
}

/// Deletes what is too old at `now`, batch by batch, until nothing is or `shutdown` says stop.
/// `None` if another process is at it.
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
    retention::unlock(&mut connection).await?;
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
    let activity = horizon(now, keep.activity);
    Ok(Purged {
        processed_messages: delete
            .all("processed_messages", async |c| {
                retention::delete_processed(c, processed, BATCH).await
            })
            .await?,
        events: delete
            .all("events", async |c| retention::delete_published(c, events, BATCH).await)
            .await?,
        task_activity: delete
            .all("task_activity", async |c| retention::delete_activity(c, activity, BATCH).await)
            .await?,
        idempotency_keys: delete
            .all("idempotency_keys", async |c| {
                retention::delete_idempotency_keys(c, now, BATCH).await
            })
            .await?,
        tokens: delete
            .all("tokens", async |c| retention::delete_expired_tokens(c, now, BATCH).await)
            .await?,
    })
}

struct Deletion<'a> {
    connection: &'a mut Connection,
    metrics: &'a Metrics,
    shutdown: &'a Shutdown,
}

impl Deletion<'_> {
    /// One batch of a table, and more until it was not full or it is time to stop. Returns how many
    /// rows.
    async fn all(
        &mut self,
        table: &str,
        batch: impl AsyncFn(&mut Connection) -> Result<usize, StoreError>,
    ) -> Result<usize, StoreError> {
        let mut rows = 0;
        loop {
            let deleted = batch(self.connection).await?;
            rows += deleted;
            self.metrics.purged.with_label_values(&[table]).inc_by(deleted as u64);
            if deleted < BATCH as usize || self.shutdown.stopped() {
                return Ok(rows);
            }
        }
    }
}

/// Everything before this is too old. A retention longer than time keeps everything.
fn horizon(now: DateTime<Utc>, keep: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(keep)
        .ok()
        .and_then(|keep| now.checked_sub_signed(keep))
        .unwrap_or(DateTime::UNIX_EPOCH)
        .max(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_retention_keeps_everything() {
        let now: DateTime<Utc> = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(
            horizon(now, Duration::from_secs(86_400)).to_rfc3339(),
            "2026-11-23T00:00:00+00:00"
        );
        assert_eq!(horizon(now, Duration::MAX), DateTime::UNIX_EPOCH);
    }
}
