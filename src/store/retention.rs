//! Deleting what has outlived its retention, a batch at a time.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::{NoContext, Timestamp, Uuid};

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Names the advisory lock of whoever purges: "taskdprg" in ASCII.
const LOCK: i64 = 0x7461_736b_6470_7267;

/// Takes the lock for this connection, unless another has it. Whether it did.
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

/// Gives the lock back.
///
/// # Errors
/// The database fails; then the lock goes with the connection.
pub async fn unlock(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Statement::new("SELECT pg_advisory_unlock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes records of effects that were last touched before `horizon`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn delete_processed(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM processed_messages WHERE (event_id, effect) IN (
             SELECT event_id, effect FROM processed_messages WHERE touched_at < $1
             ORDER BY touched_at LIMIT $2)";
    delete(connection, sql, horizon, limit).await
}

/// Deletes events that were published before `horizon`; never one that was not. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn delete_published(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    // An event's id begins with the time it was made, which is before it was published: so the
    // primary key finds them without an index of its own on published_at.
    let seconds = u64::try_from(horizon.timestamp()).unwrap_or_default();
    let made_before =
        Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, horizon.timestamp_subsec_nanos()));
    let statement = Statement::new(
        "DELETE FROM events WHERE id IN (
             SELECT id FROM events WHERE id < $1 AND published_at < $2 ORDER BY id LIMIT $3)",
    )
    .bind::<SqlUuid, _>(made_before)
    .bind::<Timestamptz, _>(horizon)
    .bind::<BigInt, _>(limit);
    Ok(statement.execute(connection).await?)
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

/// Deletes idempotency keys that have expired at `now`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn delete_idempotency_keys(
    connection: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    // A key that is used again meanwhile has a new time, which the delete looks at once more.
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

/// Runs a statement whose `$1` is a time and whose `$2` is how many rows at most.
async fn delete(
    connection: &mut AsyncPgConnection,
    sql: &str,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let statement = Statement::new(sql).bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit);
    Ok(statement.execute(connection).await?)
}
