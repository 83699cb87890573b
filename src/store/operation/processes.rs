//! The processes that have been seen. Times are made of how long ago something was, by the server's
//! clock: clocks of several machines are never compared.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::presence::{Process, Role, Seen};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// How a process is doing, as it says itself.
#[derive(Debug, Clone, Copy)]
pub struct Doing {
    /// How long ago it started.
    pub started_ago: Duration,
    /// How many deliveries or requests it has in hand.
    pub in_hand: i64,
    /// For how long there has always been one.
    pub busy_for: Option<Duration>,
    /// How long ago it last settled or answered one.
    pub progress_ago: Option<Duration>,
}

/// Notes that a process is there, and deletes those that were not seen for a day.
///
/// # Errors
/// The database fails.
pub async fn note(
    connection: &mut AsyncPgConnection,
    process: &Process,
    doing: Doing,
) -> Result<(), StoreError> {
    let ms = |ago: Duration| i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    let statement = Statement::new(
        "WITH gone AS (
             DELETE FROM processes WHERE seen_at < now() - interval '1 day' AND id <> $1)
         INSERT INTO processes AS p (id, role, name, version, host, pid, started_at, in_hand, busy_since,
                                     last_progress_at)
         VALUES ($1, $2, $3, $4, $5, $6, now() - $7 * interval '1 ms', $8, now() - $9 * interval '1 ms',
                 now() - $10 * interval '1 ms')
         ON CONFLICT (id) DO UPDATE
             SET seen_at = now(), in_hand = excluded.in_hand, busy_since = excluded.busy_since,
                 last_progress_at = excluded.last_progress_at",
    )
    .bind::<SqlUuid, _>(process.id)
    .bind::<Text, _>(process.role.as_str())
    .bind::<Text, _>(process.name.clone())
    .bind::<Text, _>(process.version.clone())
    .bind::<Text, _>(process.host.clone())
    .bind::<BigInt, _>(process.pid)
    .bind::<BigInt, _>(ms(doing.started_ago))
    .bind::<BigInt, _>(doing.in_hand)
    .bind::<Nullable<BigInt>, _>(doing.busy_for.map(ms))
    .bind::<Nullable<BigInt>, _>(doing.progress_ago.map(ms));
    statement.execute(connection).await?;
    Ok(())
}

/// Forgets a process that has ended.
///
/// # Errors
/// The database fails.
pub async fn leave(connection: &mut AsyncPgConnection, id: Uuid) -> Result<(), StoreError> {
    let statement = Statement::new("DELETE FROM processes WHERE id = $1").bind::<SqlUuid, _>(id);
    statement.execute(connection).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    host: String,
    #[diesel(sql_type = BigInt)]
    pid: i64,
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    seen_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    read_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    in_hand: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    busy_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_progress_at: Option<DateTime<Utc>>,
}

/// Every process that was seen within a day, by role and name.
///
/// # Errors
/// The database fails.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<Seen>, StoreError> {
    let statement = Statement::new(
        "SELECT id, role, name, version, host, pid, started_at, seen_at, now() AS read_at, in_hand, busy_since,
                last_progress_at
         FROM processes ORDER BY role, name, started_at, id",
    );
    let rows: Vec<Row> = statement.load(connection).await?;
    Ok(rows.into_iter().filter_map(seen).collect())
}

fn seen(row: Row) -> Option<Seen> {
    Some(Seen {
        process: Process {
            id: row.id,
            // A check constraint allows no other names.
            role: Role::from_name(&row.role)?,
            name: row.name,
            version: row.version,
            host: row.host,
            pid: row.pid,
        },
        started_at: row.started_at,
        seen_at: row.seen_at,
        read_at: row.read_at,
        in_hand: row.in_hand,
        busy_since: row.busy_since,
        last_progress_at: row.last_progress_at,
    })
}

/// Since when the oldest event waits in the queue, as far as the list of unfinished events tells.
///
/// # Errors
/// The database fails.
pub async fn queued_since(
    connection: &mut AsyncPgConnection,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(QueryableByName)]
    struct Since {
        #[diesel(sql_type = Timestamptz)]
        since: DateTime<Utc>,
    }
    let statement = Statement::new(
        "SELECT since FROM unfinished_events WHERE state = 'queued' ORDER BY event_id LIMIT 1",
    );
    let found: Option<Since> = statement.get_result(connection).await.optional()?;
    Ok(found.map(|found| found.since))
}
