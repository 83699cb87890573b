//! Discarding letters, and forgetting those that are settled.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::AsyncPgConnection;

use super::LetterFilter;
use super::selection::filtered;
use crate::store::StoreError;
use crate::store::delivery::retention::delete;
use crate::store::sql::RunQueryDsl;

#[derive(QueryableByName)]
struct LetterId {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Discards open letters that pass the filter, oldest first, at most `limit`. Returns their ids.
/// Their events' stories tell who did it and why.
///
/// # Errors
/// The database fails; then none is discarded.
pub async fn discard(
    connection: &mut AsyncPgConnection,
    filter: &LetterFilter,
    by: &str,
    why: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let statement = filtered(
        format!(
            "WITH chosen AS MATERIALIZED (
                 SELECT id FROM dead_letters WHERE {condition} AND state = 'open'
                 ORDER BY died_at, id LIMIT $8),
             discarded AS (
                 UPDATE dead_letters d SET state = 'discarded', settled_at = now(), settled_by = $9
                 FROM chosen WHERE d.id = chosen.id AND d.state = 'open'
                 RETURNING d.id, d.event_id, d.is_ours, d.attempts),
             told AS (
                 INSERT INTO event_steps (event_id, kind, attempt, retries, actor, message, letter_id)
                 SELECT event_id, 'discarded', attempts, 0, $9, $10, id FROM discarded
                 WHERE is_ours AND event_id IS NOT NULL)
             SELECT id FROM discarded",
            condition = filter.condition()
        ),
        filter,
    )
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(by.to_owned())
    .bind::<Text, _>(why.to_owned());
    let discarded: Vec<LetterId> = statement.load(connection).await?;
    Ok(discarded.into_iter().map(|row| row.id).collect())
}

/// Deletes letters that were settled before `horizon`, and their places in replays. Open letters
/// stay, however old they are. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn forget(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM dead_letters WHERE id IN (
             SELECT id FROM dead_letters WHERE settled_at < $1 AND state NOT IN ('open', 'replaying')
             ORDER BY settled_at LIMIT $2)";
    delete(connection, sql, horizon, limit).await
}

/// Deletes replays that ended before `horizon`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn forget_replays(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM replays WHERE id IN (
             SELECT id FROM replays WHERE ended_at < $1 AND state IN ('stopped', 'done') ORDER BY id LIMIT $2)";
    delete(connection, sql, horizon, limit).await
}
