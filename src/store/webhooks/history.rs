//! Deliveries once more: of what has failed, and of what was before an endpoint.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::{NoContext, Timestamp, Uuid};

use super::fan_out::{FIRST, insert};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Starts the schedule of failed deliveries anew: those of events since a time, after this
/// delivery, at most `limit`, oldest first. Returns how many, and the last one; `None` if there was
/// none.
///
/// # Errors
/// The database fails.
pub async fn recover(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    since: DateTime<Utc>,
    after: i64,
    limit: i64,
) -> Result<(usize, Option<i64>), StoreError> {
    // Whoever had one of them in flight holds its lease no more.
    let statement = Statement::new(
        "UPDATE webhook_deliveries d
         SET state = CASE WHEN d.ordered_by IS NULL THEN 'pending' ELSE 'waiting' END,
             due_at = now(), attempt = 0, lease = d.lease + 1, settled_at = NULL
         WHERE d.webhook_id = $1 AND d.id IN (
             SELECT f.id FROM webhook_deliveries f JOIN events e ON e.id = f.event_id
             WHERE f.webhook_id = $1 AND f.state = 'failed' AND f.id > $4 AND e.occurred_at >= $2
             ORDER BY f.id LIMIT $3)
         RETURNING d.id AS number",
    )
    .planned_for_its_values()
    .bind::<BigInt, _>(webhook_id)
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(after);
    let rows: Vec<Number> = statement.load(connection).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.number).collect();
    let Some(last) = ids.iter().max().copied() else { return Ok((0, None)) };
    // Where the order is kept, the first of each task is tried at once.
    let statement = Statement::new(format!(
        "UPDATE webhook_deliveries d SET state = 'pending' FROM webhooks w
         WHERE w.id = $1 AND d.webhook_id = $1 AND d.id = ANY($2) AND d.state = 'waiting' AND {FIRST}"
    ))
    .planned_for_its_values()
    .bind::<BigInt, _>(webhook_id)
    .bind::<Array<BigInt>, _>(ids.clone());
    statement.execute(connection).await?;
    Ok((ids.len(), Some(last)))
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
        "UPDATE webhook_deliveries d
         SET state = 'pending', due_at = now(), attempt = 0, lease = d.lease + 1, settled_at = NULL
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
}

/// How much later an event may say that it happened than its id was made.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// Past events after this one, in the order of their ids, which begin with the time they were made:
/// so what is older than `since` is not read.
///
/// # Errors
/// The database fails.
pub async fn past(
    connection: &mut AsyncPgConnection,
    past: &Past,
    after: Option<Uuid>,
) -> Result<Vec<Uuid>, StoreError> {
    let begin = past.since.checked_sub_signed(SKEW).unwrap_or(past.since);
    let seconds = u64::try_from(begin.timestamp()).unwrap_or_default();
    let first = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0));
    // All but the time is random; the lowest id of this millisecond has none of it.
    let first = Uuid::from_u128(first.as_u128() >> 80 << 80);
    let statement = Statement::new(
        "SELECT id FROM events
         WHERE id > $1 AND seq <= $2 AND occurred_at >= $3 AND ($4 IS NULL OR type = ANY($4))
         ORDER BY id LIMIT $5",
    )
    .planned_for_its_values()
    .bind::<SqlUuid, _>(after.unwrap_or(first))
    .bind::<BigInt, _>(past.up_to)
    .bind::<Timestamptz, _>(past.since)
    .bind::<Nullable<Array<Text>>, _>(past.types.clone())
    .bind::<BigInt, _>(past.limit);
    let events: Vec<EventRow> = statement.load(connection).await?;
    Ok(events.into_iter().map(|event| event.id).collect())
}

/// Makes deliveries of these events to an endpoint, by its own filters and what its owner may see,
/// unless they are there already. Returns how many were made.
///
/// # Errors
/// The database fails; then the transaction has failed too.
pub async fn replay(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    events: Vec<Uuid>,
) -> Result<usize, StoreError> {
    let source = "unnest($1) AS i (id) JOIN events e ON e.id = i.id JOIN webhooks w ON w.id = $2";
    let statement = Statement::new(insert(source, "e.seq"))
        .planned_for_its_values()
        .bind::<Array<SqlUuid>, _>(events)
        .bind::<BigInt, _>(webhook_id);
    Ok(statement.execute(connection).await?)
}
