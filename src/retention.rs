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
    let mut purged = Purged::default();
    for table in ["processed_messages", "events", "task_activity", "idempotency_keys", "tokens"] {
        loop {
            let deleted = match table {
                "processed_messages" => {
                    retention::delete_processed(connection, horizon(now, keep.processed), BATCH)
                        .await?
                }
                "events" => {
                    retention::delete_published(connection, horizon(now, keep.events), BATCH)
                        .await?
                }
                "task_activity" => {
                    retention::delete_activity(connection, horizon(now, keep.activity), BATCH)
                        .await?
                }
                "idempotency_keys" => {
                    retention::delete_idempotency_keys(connection, now, BATCH).await?
                }
                _ => retention::delete_expired_tokens(connection, now, BATCH).await?,
            };
            match table {
                "processed_messages" => purged.processed_messages += deleted,
                "events" => purged.events += deleted,
                "task_activity" => purged.task_activity += deleted,
                "idempotency_keys" => purged.idempotency_keys += deleted,
                _ => purged.tokens += deleted,
            }
            metrics.purged.with_label_values(&[table]).inc_by(deleted as u64);
            if deleted < BATCH as usize || shutdown.stopped() {
                break;
            }
        }
    }
    Ok(purged)
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
