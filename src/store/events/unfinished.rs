//! The list of events that are not done, and how it is kept up to date.
//!
//! Workers write what fails (`setbacks`). All else is looked up after a few seconds, so that
//! writing and finishing an event cost nothing here.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// A condition: whether all effects of the event with this id are done.
pub(in crate::store) fn finished(id: &str) -> String {
    format!(
        "EXISTS (SELECT FROM processed_messages p WHERE p.event_id = {id}
                 HAVING bool_and(p.state IN ('done', 'skipped')) AND count(*) >= max(p.effects))"
    )
}

/// Up to which event the list is complete.
pub(super) const MARK: &str = "(SELECT seq FROM unfinished_events_mark)";

/// An event of the list.
#[derive(Debug, Clone, QueryableByName)]
pub struct Unfinished {
    /// Since when its state is what it is.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
    /// The attempt that came last, from 1.
    #[diesel(sql_type = Nullable<Integer>)]
    pub attempt: Option<i32>,
    /// How many retries there are in all.
    #[diesel(sql_type = Nullable<Integer>)]
    pub retries: Option<i32>,
    /// The effect that failed or waits, as `NAME` or `NAME/TARGET`.
    #[diesel(sql_type = Nullable<Text>)]
    pub effect: Option<String>,
    /// The error, or why it waits.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When its message comes back by itself.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_try_at: Option<DateTime<Utc>>,
    /// Its dead letter.
    #[diesel(sql_type = Nullable<Text>)]
    pub letter_id: Option<String>,
}

/// What the list has of an event.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    event_id: Uuid,
) -> Result<Option<Unfinished>, StoreError> {
    let statement = Statement::new(
        "SELECT since, attempt, retries, effect, reason, next_try_at, letter_id
         FROM unfinished_events WHERE event_id = $1",
    )
    .bind::<SqlUuid, _>(event_id);
    Ok(statement.get_result(connection).await.optional()?)
}

/// How far a step of [`advance`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to look at now.
    Behind,
    /// There is nothing more to look at for the moment, or another process looks.
    UpToDate,
}

#[derive(QueryableByName)]
struct Mark {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = BigInt)]
    next_seq: i64,
    #[diesel(sql_type = Bool)]
    settled: bool,
}

/// Adds those events to the list that have come since the last time and are not done: at most
/// `limit` events are looked at.
///
/// Sequence numbers don't follow the order of commits. So this notes the last number, waits until
/// every transaction has ended that may have drawn one up to that (no statement of taskd takes a
/// minute), and only then looks at the events up to it.
///
/// # Errors
/// The database fails.
pub async fn advance(
    connection: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Progress, StoreError> {
    transaction(connection, async |connection| {
        let statement = Statement::new(
            "SELECT seq, next_seq,
                    noted_at < now() - interval '1 s'
                        AND pg_snapshot_xmin(pg_current_snapshot()) >= next_xid
                    OR noted_at < now() - interval '1 min' AS settled
             FROM unfinished_events_mark FOR UPDATE SKIP LOCKED",
        );
        let mark: Option<Mark> = statement.get_result(connection).await.optional()?;
        let Some(mark) = mark.filter(|mark| mark.settled) else { return Ok(Progress::UpToDate) };
        let reached = add(connection, mark.seq, mark.next_seq, limit).await?;
        if reached < mark.next_seq {
            let statement = Statement::new("UPDATE unfinished_events_mark SET seq = $1")
                .bind::<BigInt, _>(reached);
            statement.execute(connection).await?;
            return Ok(Progress::Behind);
        }
        let statement = Statement::new(
            "UPDATE unfinished_events_mark
             SET seq = $1, next_seq = (SELECT last_value FROM events_seq_seq),
                 next_xid = pg_snapshot_xmax(pg_current_snapshot()), noted_at = now()
             WHERE $1 <> seq OR $1 <> (SELECT last_value FROM events_seq_seq)",
        )
        .bind::<BigInt, _>(mark.next_seq);
        statement.execute(connection).await?;
        Ok(Progress::UpToDate)
    })
    .await
}

/// Looks at the events after `from` up to `to`. Returns up to which it got.
async fn add(
    connection: &mut AsyncPgConnection,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<i64, StoreError> {
    if from >= to {
        return Ok(to);
    }
    #[derive(QueryableByName)]
    struct Added {
        #[diesel(sql_type = BigInt)]
        looked_at: i64,
        #[diesel(sql_type = Nullable<BigInt>)]
        last: Option<i64>,
    }
    // An event without records was never taken, unless they were deleted because all was done: then
    // it is old, and older than every record that there is.
    let statement = Statement::new(format!(
        "WITH looked AS MATERIALIZED (
             SELECT id, seq, occurred_at, published_at, subject_kind FROM events
             WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3),
         oldest AS MATERIALIZED (SELECT min(touched_at) AS at FROM processed_messages),
         added AS (
             INSERT INTO unfinished_events (event_id, state, since)
             SELECT id, 'queued', coalesce(published_at, occurred_at) FROM looked, oldest
             WHERE NOT {finished} AND subject_kind <> 'canary'
                 AND (published_at IS NULL OR published_at >= least(coalesce(oldest.at, '-infinity'), now() - interval '1 day')
                      OR EXISTS (SELECT FROM processed_messages p WHERE p.event_id = looked.id))
             ON CONFLICT (event_id) DO NOTHING)
         SELECT (SELECT count(*) FROM looked) AS looked_at, (SELECT max(seq) FROM looked) AS last",
        finished = finished("looked.id")
    ))
    .bind::<BigInt, _>(from)
    .bind::<BigInt, _>(to)
    .bind::<BigInt, _>(limit);
    let added: Added = statement.get_result(connection).await?;
    Ok(if added.looked_at < limit { to } else { added.last.unwrap_or(to) })
}

/// How far [`clear`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The last event it looked at; `None` at the end of the list.
    pub last: Option<Uuid>,
    /// How many rows it removed.
    pub removed: i64,
}

/// Removes events from the list that are done, and those that have been deleted: it looks at
/// `limit` of them after `after`.
///
/// # Errors
/// The database fails.
pub async fn clear(
    connection: &mut AsyncPgConnection,
    after: Uuid,
    limit: i64,
) -> Result<Cleared, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        last: Option<Uuid>,
        #[diesel(sql_type = BigInt)]
        looked_at: i64,
        #[diesel(sql_type = BigInt)]
        removed: i64,
    }
    let statement = Statement::new(format!(
        "WITH looked AS MATERIALIZED (
             SELECT event_id FROM unfinished_events WHERE event_id > $1 ORDER BY event_id LIMIT $2),
         removed AS (
             DELETE FROM unfinished_events u USING looked
             WHERE u.event_id = looked.event_id
                 AND ({finished} OR NOT EXISTS (SELECT FROM events e WHERE e.id = u.event_id))
             RETURNING 1)
         SELECT (SELECT event_id FROM looked ORDER BY event_id DESC LIMIT 1) AS last,
                (SELECT count(*) FROM looked) AS looked_at, (SELECT count(*) FROM removed) AS removed",
        finished = finished("u.event_id")
    ))
    .bind::<SqlUuid, _>(after)
    .bind::<BigInt, _>(limit);
    let row: Row = statement.get_result(connection).await?;
    Ok(Cleared { last: row.last.filter(|_| row.looked_at == limit), removed: row.removed })
}
