//! The outbox: events written with their task, not yet with the broker.
//!
//! A row's sequence number is not the order of commits, so nothing here remembers "up to which
//! number": what is unpublished is found by being unpublished.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Lets the commit of the statement that asks it be answered before it is on disk
/// (<https://www.postgresql.org/docs/current/wal-async-commit.html>). A crash of the server may undo what
/// is noted here about an event, and then it is published once more, as after a crash of the publisher; the
/// event itself was on disk before. Without it the publisher would wait twice for the disk, and those who
/// write tasks would wait behind it.
const NOTED: &str = "(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL";

/// An event waiting to be published.
#[derive(Debug, QueryableByName)]
pub struct OutboxRow {
    /// The event's id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Ascending with the versions of one task.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// The event type's name.
    #[diesel(sql_type = Text, column_name = "type")]
    pub event_type: String,
    /// The payload, a JSON text.
    #[diesel(sql_type = Text)]
    pub payload: String,
    /// When the change was made.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
}

/// A lease of events: until it ends, nobody else publishes them.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Who does.
    pub owner: Uuid,
    /// For how long, from the statement on.
    pub length: Duration,
}

impl Lease {
    /// As the database counts it, in milliseconds.
    pub(in crate::store) fn milliseconds(self) -> i64 {
        self.length.as_millis() as i64
    }
}

/// Notes that `published` are with the broker, and takes the oldest events that nobody has, in order, with
/// this lease: one statement for both, since a busy publisher has both to say at the same time.
///
/// # Errors
/// The database fails; then those that are published will be once more.
pub async fn mark_and_lease(
    connection: &mut AsyncPgConnection,
    published: &[Uuid],
    lease: Lease,
    limit: i64,
) -> Result<Vec<OutboxRow>, StoreError> {
    // Without a condition on the time of publication the primary key is the way to them, however many wait.
    let statement = Statement::new(format!(
        "WITH marked AS (
             UPDATE events SET published_at = coalesce(published_at, now())
             WHERE {NOTED} AND id = ANY($4))
         UPDATE events SET lease_owner = $1, leased_until = now() + $2 * interval '1 ms'
         WHERE {NOTED} AND id IN (
             SELECT id FROM events
             WHERE published_at IS NULL AND (leased_until IS NULL OR leased_until < now())
                 AND id <> ALL($4)
             ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED)
         RETURNING id, seq, type, payload::text AS payload, occurred_at"
    ))
    .bind::<SqlUuid, _>(lease.owner)
    .bind::<BigInt, _>(lease.milliseconds())
    .bind::<BigInt, _>(limit)
    .bind::<Array<SqlUuid>, _>(published.to_vec());
    let mut rows: Vec<OutboxRow> = statement.load(connection).await?;
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

/// These are not: whoever comes next may take them.
///
/// # Errors
/// The database fails; then the lease ends by itself.
pub async fn release(
    connection: &mut AsyncPgConnection,
    owner: Uuid,
    ids: Vec<Uuid>,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE events SET lease_owner = NULL, leased_until = NULL
         WHERE id = ANY($1) AND lease_owner = $2 AND published_at IS NULL",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<SqlUuid, _>(owner);
    statement.execute(connection).await?;
    Ok(())
}

/// Ends every lease: for the one process that uses this database, at its start.
///
/// # Errors
/// The database fails.
pub async fn release_all(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE events SET lease_owner = NULL, leased_until = NULL
         WHERE published_at IS NULL AND lease_owner IS NOT NULL",
    );
    statement.execute(connection).await?;
    Ok(())
}

/// Gives the room of old versions of events back, where nobody else does: an embedded database has no
/// autovacuum, and each event is written again when it is leased and when it is marked.
///
/// # Errors
/// The database fails.
pub async fn vacuum(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("VACUUM events").await?)
}

/// How much waits.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Backlog {
    /// How many events.
    #[diesel(sql_type = BigInt)]
    pub unpublished: i64,
    /// Since when the oldest waits.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

/// Counts what waits.
///
/// # Errors
/// The database fails.
pub async fn backlog(connection: &mut AsyncPgConnection) -> Result<Backlog, StoreError> {
    let statement = Statement::new(
        "SELECT count(*) AS unpublished, min(occurred_at) AS oldest FROM events WHERE published_at IS NULL",
    );
    Ok(statement.get_result(connection).await?)
}
