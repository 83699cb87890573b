//! Deliveries once more: of what has failed, and of what was before an endpoint.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::fan_out::insert;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Starts the schedule of failed deliveries anew: those of events since a time, at most `limit`,
/// oldest first. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn recover(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    // Where the order is kept, the first of a task is released by whoever reads the outbox.
    let statement = Statement::new(
        "UPDATE webhook_deliveries d
         SET state = CASE WHEN d.ordered_by IS NULL THEN 'pending' ELSE 'waiting' END,
             due_at = now(), attempt = 0, settled_at = NULL
         WHERE d.webhook_id = $1 AND d.id IN (
             SELECT f.id FROM webhook_deliveries f JOIN events e ON e.id = f.event_id
             WHERE f.webhook_id = $1 AND f.state = 'failed' AND e.occurred_at >= $2
             ORDER BY f.id LIMIT $3)",
    )
    .bind::<BigInt, _>(webhook_id)
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(limit);
    Ok(statement.execute(connection).await?)
}

/// Starts the schedule of one delivery anew, whatever its state. Returns whether there is one whose
/// event is still there.
///
/// # Errors
/// The database fails.
pub async fn resend(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    delivery_id: i64,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "UPDATE webhook_deliveries d SET state = 'pending', due_at = now(), attempt = 0, settled_at = NULL
         WHERE d.webhook_id = $1 AND d.id = $2 AND EXISTS (SELECT FROM events e WHERE e.id = d.event_id)",
    )
    .bind::<BigInt, _>(webhook_id)
    .bind::<BigInt, _>(delivery_id);
    Ok(statement.execute(connection).await? > 0)
}

/// What of the outbox an endpoint is to be told again, or for the first time.
#[derive(Debug, Clone)]
pub struct Past {
    /// Events since this time.
    pub since: DateTime<Utc>,
    /// Of these types, or of all.
    pub types: Option<Vec<String>>,
    /// After the event with this number.
    pub after: i64,
    /// Up to the event with this number.
    pub up_to: i64,
    /// At most so many events.
    pub limit: i64,
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The highest number of an event.
///
/// # Errors
/// The database fails.
pub async fn newest(connection: &mut AsyncPgConnection) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(max(seq), 0) AS number FROM events";
    let row: Number = Statement::new(sql).get_result(connection).await?;
    Ok(row.number)
}

#[derive(diesel::QueryableByName)]
struct EventRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Makes deliveries of past events to an endpoint, by its own filters and what its owner may see,
/// unless they are there already. Returns how many were made, and the number of the last event that
/// was looked at; `None` if there was none.
///
/// # Errors
/// The database fails; then the transaction has failed too.
pub async fn replay(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    past: &Past,
) -> Result<(usize, Option<i64>), StoreError> {
    let statement = Statement::new(
        "SELECT id, seq FROM events
         WHERE seq > $1 AND seq <= $2 AND occurred_at >= $3 AND ($4 IS NULL OR type = ANY($4))
         ORDER BY seq LIMIT $5",
    )
    .planned_for_its_values()
    .bind::<BigInt, _>(past.after)
    .bind::<BigInt, _>(past.up_to)
    .bind::<Timestamptz, _>(past.since)
    .bind::<Nullable<Array<Text>>, _>(past.types.clone())
    .bind::<BigInt, _>(past.limit);
    let events: Vec<EventRow> = statement.load(connection).await?;
    let Some(last) = events.last().map(|event| event.seq) else { return Ok((0, None)) };
    let source = "unnest($1) AS i (id) JOIN events e ON e.id = i.id JOIN webhooks w ON w.id = $2";
    let made = Statement::new(insert(source, "e.seq"))
        .bind::<Array<SqlUuid>, _>(events.iter().map(|event| event.id).collect::<Vec<_>>())
        .bind::<BigInt, _>(webhook_id)
        .execute(connection)
        .await?;
    Ok((made, Some(last)))
}
