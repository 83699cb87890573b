//! Deletes what has outlived its retention, in batches.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use uuid::{NoContext, Timestamp, Uuid};

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// The advisory lock of the process that purges: "taskdprg" in ASCII.
const LOCK: i64 = 0x7461_736b_6470_7267;

/// Takes the lock for this connection, unless another has it. Returns whether it did.
///
/// # Errors
/// The database fails.
pub async fn try_lock(connection: &mut AsyncPgConnection) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Locked {
        #[diesel(sql_type = Bool)]
        locked: bool,
    }
    let statement =
        Statement::new("SELECT pg_try_advisory_lock($1) AS locked").bind::<BigInt, _>(LOCK);
    let locked: Locked = statement.get_result(connection).await?;
    Ok(locked.locked)
}

/// Releases the lock.
///
/// # Errors
/// The database fails; then the lock ends with the connection.
pub async fn unlock(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Statement::new("SELECT pg_advisory_unlock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// How much a batch of deletions has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeBatch {
    /// How many old rows were examined; fewer than the limit when there are no more.
    pub examined: usize,
    /// How many rows were deleted.
    pub deleted: usize,
}

/// Deletes the records of finished events: all effects are done, no record was touched since
/// `horizon`, and the event was published before it. The rule is
/// [`crate::domain::processing::retention::may_forget`]. Old records of other events are touched,
/// so that the next batch does not meet them again.
///
/// # Errors
/// The database fails.
pub async fn forget_processed(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<PurgeBatch, StoreError> {
    #[derive(QueryableByName)]
    struct Counts {
        #[diesel(sql_type = BigInt)]
        looked_at: i64,
        #[diesel(sql_type = BigInt)]
        deleted: i64,
    }
    // A record that says done stays so, and a time of publication doesn't change: an event that is
    // read here as finished can't become unfinished meanwhile.
    let statement = Statement::new(
        "WITH old AS MATERIALIZED (
             SELECT event_id, effect FROM processed_messages WHERE touched_at < $1
             ORDER BY touched_at LIMIT $2),
         finished AS MATERIALIZED (
             SELECT p.event_id FROM processed_messages p
             WHERE p.event_id IN (SELECT event_id FROM old)
             GROUP BY p.event_id
             HAVING bool_and(p.state IN ('done', 'skipped') AND p.touched_at < $1)
                 AND count(*) >= max(p.effects)
                 AND NOT EXISTS (
                     SELECT FROM events e WHERE e.id = p.event_id
                         AND (e.published_at IS NULL OR e.published_at >= $1))),
         deleted AS (
             DELETE FROM processed_messages WHERE event_id IN (SELECT event_id FROM finished)
             RETURNING 1),
         kept AS (
             UPDATE processed_messages p SET touched_at = greatest(now(), $1) FROM old
             WHERE p.event_id = old.event_id AND p.effect = old.effect
                 AND p.event_id NOT IN (SELECT event_id FROM finished))
         SELECT (SELECT count(*) FROM old) AS looked_at, (SELECT count(*) FROM deleted) AS deleted",
    )
    .bind::<Timestamptz, _>(horizon)
    .bind::<BigInt, _>(limit);
    let counts: Counts = statement.get_result(connection).await?;
    let number = |count| usize::try_from(count).unwrap_or_default();
    Ok(PurgeBatch { examined: number(counts.looked_at), deleted: number(counts.deleted) })
}

/// Deletes events that were published before `horizon`, never unpublished ones, nor those that are
/// still to be delivered to a webhook; with them what was delivered. Returns how many events.
///
/// # Errors
/// The database fails.
pub async fn delete_published(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    // An event's id begins with the time it was made, which is before it was published. So the
    // primary key finds old events, and published_at needs no index of its own.
    let seconds = u64::try_from(horizon.timestamp()).unwrap_or_default();
    let made_before =
        Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, horizon.timestamp_subsec_nanos()));
    // Followers of the change feed must be told what they have missed.
    #[derive(QueryableByName)]
    struct Deleted {
        #[diesel(sql_type = BigInt)]
        deleted: i64,
    }
    let statement = Statement::new(
        "WITH gone AS (
             DELETE FROM events WHERE id IN (
                 SELECT id FROM events e WHERE id < $1 AND published_at < $2
                     AND NOT EXISTS (SELECT FROM parked_messages p WHERE p.event_id = e.id)
                     AND NOT EXISTS (
                         SELECT FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
                         WHERE d.event_id = e.id AND d.state IN ('pending', 'waiting') AND w.enabled)
                 ORDER BY id LIMIT $3)
             RETURNING id),
         undelivered AS (
             DELETE FROM webhook_deliveries WHERE event_id IN (SELECT id FROM gone)),
         told AS (
             UPDATE purged_events SET published_before = greatest(published_before, $2)
             WHERE EXISTS (SELECT FROM gone))
         SELECT count(*) AS deleted FROM gone",
    )
    .bind::<SqlUuid, _>(made_before)
    .bind::<Timestamptz, _>(horizon)
    .bind::<BigInt, _>(limit);
    let deleted: Deleted = statement.get_result(connection).await?;
    Ok(usize::try_from(deleted.deleted).unwrap_or_default())
}

/// Deletes entries of the activity log that were written before `horizon`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn delete_activity(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM task_activity WHERE id IN (
             SELECT id FROM task_activity WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2)";
    delete(connection, sql, horizon, limit).await
}

/// Deletes what was told of events before `horizon`. Returns how many steps.
///
/// # Errors
/// The database fails.
pub async fn delete_steps(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM event_steps WHERE id IN (
             SELECT id FROM event_steps WHERE at < $1 ORDER BY at LIMIT $2)";
    delete(connection, sql, horizon, limit).await
}

/// Deletes idempotency keys that have expired at `now`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn delete_idempotency_keys(
    connection: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    // A key that is used again meanwhile has a new time, which the delete checks once more.
    let sql = "DELETE FROM idempotency_keys WHERE expires_at <= $1 AND (caller, route, key) IN (
             SELECT caller, route, key FROM idempotency_keys WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2)";
    delete(connection, sql, now, limit).await
}

/// Deletes sessions and API tokens that have expired at `now`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn delete_expired_tokens(
    connection: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM tokens WHERE id IN (
             SELECT id FROM tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
    delete(connection, sql, now, limit).await
}

/// The tables that a purge deletes from or that are written with every change, but for the queue,
/// which is vacuumed by its broker.
pub const VACUUMED: [&str; 9] = [
    "processed_messages",
    "events",
    "task_activity",
    "event_steps",
    "tasks",
    "unfinished_events",
    "idempotency_keys",
    "audit",
    "webhook_deliveries",
];

/// Reclaims the space of a table's deleted rows where nobody else does: an embedded database has no
/// autovacuum.
///
/// # Errors
/// The database fails.
pub async fn vacuum(
    connection: &mut AsyncPgConnection,
    table: &'static str,
) -> Result<(), StoreError> {
    Ok(connection.batch_execute(&format!("VACUUM {table}")).await?)
}

/// Runs a statement whose `$1` is a time and whose `$2` is the maximum number of rows.
pub(in crate::store) async fn delete(
    connection: &mut AsyncPgConnection,
    sql: &str,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let statement = Statement::new(sql).bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit);
    Ok(statement.execute(connection).await?)
}
