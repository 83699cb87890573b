//! The outbox: events written with their task, and not yet published.
//!
//! Sequence numbers don't follow the order of commits, so nothing here remembers a position:
//! unpublished events are found by being unpublished.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;

use crate::domain::event::{NewEvent, Origin};
use crate::store::StoreError;
use crate::store::delivery::new_events;
use crate::store::sql::{RunQueryDsl, Statement};

/// Lets the commit of a statement be answered before it is on disk
/// (<https://www.postgresql.org/docs/current/wal-async-commit.html>). A crash of the server may
/// undo the lease or the mark, and then the event is published once more, as after a crash of the
/// publisher. The event itself was on disk before. With a synchronous commit the publisher would
/// wait for the disk twice, and those who write tasks would wait behind it.
const NOTED: &str = "(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL";

/// An event waiting to be published.
#[derive(Debug, Clone, QueryableByName)]
pub struct OutboxRow {
    /// The event's id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Ascends with the versions of one task.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// The event type's name.
    #[diesel(sql_type = Text, column_name = "type")]
    pub event_type: String,
    /// The payload, as JSON text.
    #[diesel(sql_type = Text)]
    pub payload: String,
    /// When the change was made.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    /// Who made it: the name of an [`ActorKind`](crate::domain::event::ActorKind). `None` if a
    /// version of taskd wrote it that did not record it.
    #[diesel(sql_type = Nullable<Text>)]
    pub actor_kind: Option<String>,
    /// The id of that user or token.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub actor_id: Option<i64>,
    /// The event that this one follows from.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub causation_id: Option<Uuid>,
    /// The trace context of the request that made it.
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
}

impl OutboxRow {
    /// Where the change comes from.
    pub fn origin(&self) -> Option<Origin> {
        new_events::origin(self.actor_kind.as_deref(), self.actor_id, self.causation_id)
    }
}

/// A lease of events: until it ends, no other publisher takes them.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// The publisher that holds it.
    pub owner: Uuid,
    /// How long it lasts, counted from the statement.
    pub length: Duration,
}

impl Lease {
    /// The length in milliseconds, as the statements take it.
    pub(in crate::store) fn milliseconds(self) -> i64 {
        self.length.as_millis() as i64
    }
}

/// Writes an event by itself, for a change that was made in the same transaction. Where a change is
/// one statement, the event belongs into that statement.
///
/// # Errors
/// The database fails; then the transaction has failed too.
pub async fn write(connection: &mut AsyncPgConnection, event: &NewEvent) -> Result<(), StoreError> {
    let changed = "(SELECT $1 AS id) AS changed";
    let source = new_events::one(2, changed);
    let lease = 2 + new_events::COLUMN_COUNT;
    let statement = Statement::new(new_events::insert(&source, "id", "payload", lease))
        .bind::<BigInt, _>(event.subject.id);
    new_events::bind_lease(new_events::bind(statement, event), None).execute(connection).await?;
    Ok(())
}

/// Marks the events in `published` as published, and leases the oldest free events, at most
/// `limit`, in order. One statement does both, since a busy publisher needs both at the same time.
///
/// # Errors
/// The database fails; then the events in `published` are published once more.
pub async fn mark_and_lease(
    connection: &mut AsyncPgConnection,
    published: &[Uuid],
    lease: Lease,
    limit: i64,
) -> Result<Vec<OutboxRow>, StoreError> {
    // Without a condition on the time of publication PostgreSQL finds the events by primary key,
    // however many are waiting.
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
         RETURNING id, seq, type, payload::text AS payload, occurred_at, actor_kind, actor_id, causation_id,
                   traceparent"
    ))
    .bind::<SqlUuid, _>(lease.owner)
    .bind::<BigInt, _>(lease.milliseconds())
    .bind::<BigInt, _>(limit)
    .bind::<Array<SqlUuid>, _>(published.to_vec());
    let mut rows: Vec<OutboxRow> = statement.load(connection).await?;
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

/// Ends the owner's leases of these events without a mark, so that any publisher may take them.
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

/// Ends every lease. Called at its start by a process that has this database to itself.
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

/// Reclaims the space of dead rows where nobody else does: an embedded database has no autovacuum,
/// and each event is updated when it is leased and when it is marked.
///
/// # Errors
/// The database fails.
pub async fn vacuum(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("VACUUM events").await?)
}

/// The events that wait to be published.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Backlog {
    /// How many there are.
    #[diesel(sql_type = BigInt)]
    pub unpublished: i64,
    /// When the oldest of them occurred.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

/// Counts the events that wait to be published.
///
/// # Errors
/// The database fails.
pub async fn backlog(connection: &mut AsyncPgConnection) -> Result<Backlog, StoreError> {
    let statement = Statement::new(
        "SELECT count(*) AS unpublished, min(occurred_at) AS oldest FROM events WHERE published_at IS NULL",
    );
    Ok(statement.get_result(connection).await?)
}
