//! From events to deliveries: the outbox is read in the order of the change feed, by one process at
//! a time, and each event becomes a delivery to each endpoint that is to be told of it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// How far the outbox was read.
#[derive(Debug, Clone, QueryableByName)]
pub struct Progress {
    /// A cursor of the change feed as text; `None` if nothing was read yet.
    #[diesel(sql_type = Nullable<Text>)]
    pub position: Option<String>,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Whether there is an endpoint that is told of events.
///
/// # Errors
/// The database fails.
pub async fn any_enabled(connection: &mut AsyncPgConnection) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) AS count FROM (SELECT FROM webhooks WHERE enabled LIMIT 1) AS w";
    let row: Count = Statement::new(sql).get_result(connection).await?;
    Ok(row.count > 0)
}

/// Keeps everybody else from reading on until the end of the transaction. Returns how far the
/// outbox was read; `None` if somebody else is reading.
///
/// # Errors
/// The database fails.
pub async fn take(connection: &mut AsyncPgConnection) -> Result<Option<Progress>, StoreError> {
    let sql = "SELECT position FROM webhook_progress FOR UPDATE SKIP LOCKED";
    Ok(Statement::new(sql).get_result(connection).await.optional()?)
}

/// Waits until nobody reads, and keeps everybody from it until the end of the transaction.
///
/// # Errors
/// The database fails.
pub async fn lock(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Statement::new("SELECT position FROM webhook_progress FOR UPDATE").execute(connection).await?;
    Ok(())
}

/// Notes how far the outbox was read, and when the snapshot was taken up to which everything was.
///
/// # Errors
/// The database fails.
pub async fn advance(
    connection: &mut AsyncPgConnection,
    position: &str,
    seen_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let sql = "UPDATE webhook_progress SET position = $1, seen_at = coalesce($2, seen_at)";
    Statement::new(sql)
        .bind::<Text, _>(position.to_owned())
        .bind::<Nullable<Timestamptz>, _>(seen_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the deliveries of these events, in their order, for each endpoint that is enabled, that
/// asks for them, and whose owner may see them now. Those that there are already stay as they are.
/// Returns how many were made.
///
/// Of a task that keeps its order only the first delivery that is open is pending.
///
/// # Errors
/// The database fails; then the transaction has failed too.
pub async fn deliver(
    connection: &mut AsyncPgConnection,
    events: &[Uuid],
) -> Result<usize, StoreError> {
    let source = "unnest($1) WITH ORDINALITY AS i (id, place)
         JOIN events e ON e.id = i.id JOIN webhooks w ON w.enabled AND e.seq > w.since_seq";
    let statement = Statement::new(insert(source, "place"))
        .planned_for_its_values()
        .bind::<Array<SqlUuid>, _>(events.to_vec());
    Ok(statement.execute(connection).await?)
}

/// Inserts deliveries of the events `e` to the endpoints `w` of `source`, by `order`.
pub(super) fn insert(source: &str, order: &str) -> String {
    format!(
        "WITH told AS (
             SELECT w.id AS webhook_id, e.id AS event_id, {order} AS place,
                 CASE WHEN w.ordered THEN e.subject_kind || '/' || e.task_id END AS ordered_by
             FROM {source}
             LEFT JOIN users u ON u.id = w.user_id
             WHERE {EVENT} AND (w.event_types IS NULL OR e.type = ANY(w.event_types))
                 AND e.payload @> w.filter AND {VISIBLE})
         INSERT INTO webhook_deliveries (webhook_id, event_id, ordered_by, state, due_at)
         SELECT webhook_id, event_id, ordered_by,
             CASE WHEN ordered_by IS NULL THEN 'pending'
                  WHEN row_number() OVER (PARTITION BY webhook_id, ordered_by ORDER BY place) > 1
                      OR EXISTS (SELECT FROM webhook_deliveries d
                                 WHERE d.webhook_id = told.webhook_id AND d.ordered_by = told.ordered_by
                                     AND d.state IN ('pending', 'waiting'))
                  THEN 'waiting' ELSE 'pending' END,
             now()
         FROM told ORDER BY place, webhook_id
         ON CONFLICT (event_id, webhook_id) DO NOTHING"
    )
}

/// Whether others are told of an event at all: not of a canary, nor of what takes the place of
/// another event, nor of webhooks themselves.
const EVENT: &str = "e.subject_kind NOT IN ('canary', 'webhook') AND NOT e.is_repetition";

/// Whether the owner `u` of the endpoint `w` may see the event `e`: a member's tasks are its own. A
/// task that is given to somebody else is told to that user alone.
pub(super) const VISIBLE: &str = "(w.user_id IS NULL OR u.role IN ('admin', 'viewer')
     OR e.payload -> 'userId' = to_jsonb(w.user_id))";

/// A place among the open deliveries that keep an order.
#[derive(Debug, Clone, QueryableByName)]
pub struct Place {
    #[diesel(sql_type = BigInt)]
    webhook_id: i64,
    #[diesel(sql_type = Text)]
    ordered_by: String,
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The condition on which the waiting delivery `d` to the endpoint `w` waits for nothing: no other
/// of its task is pending, and none waits that was made before.
pub(super) const FIRST: &str = "(NOT w.ordered OR NOT EXISTS (
         SELECT FROM webhook_deliveries p
         WHERE p.webhook_id = d.webhook_id AND p.ordered_by = d.ordered_by AND p.id <> d.id
             AND (p.state = 'pending' OR p.state = 'waiting' AND p.id < d.id)))";

/// Lets those deliveries be tried that wait for nothing, among at most `limit` open ones after a
/// place. A settlement does that itself; here are those that were made while it was under way, and
/// those whose endpoint keeps the order no more. Returns how many, and the last place that was
/// looked at; `None` at the end.
///
/// # Errors
/// The database fails.
pub async fn release(
    connection: &mut AsyncPgConnection,
    after: Option<&Place>,
    limit: i64,
) -> Result<(usize, Option<Place>), StoreError> {
    let looked = Statement::new(
        "SELECT webhook_id, ordered_by, id FROM webhook_deliveries
         WHERE ordered_by IS NOT NULL AND state IN ('pending', 'waiting')
             AND (webhook_id, ordered_by, id) > ($1, $2, $3)
         ORDER BY webhook_id, ordered_by, id LIMIT $4",
    )
    .planned_for_its_values()
    .bind::<BigInt, _>(after.map_or(0, |place| place.webhook_id))
    .bind::<Text, _>(after.map_or(String::new(), |place| place.ordered_by.clone()))
    .bind::<BigInt, _>(after.map_or(0, |place| place.id))
    .bind::<BigInt, _>(limit);
    let places: Vec<Place> = looked.load(connection).await?;
    let Some(last) = places.last().cloned() else { return Ok((0, None)) };
    let statement = Statement::new(format!(
        "UPDATE webhook_deliveries d SET state = 'pending', due_at = now()
         FROM unnest($1, $2) AS looked (webhook_id, id) JOIN webhooks w ON w.id = looked.webhook_id
         WHERE d.webhook_id = looked.webhook_id AND d.id = looked.id AND d.state = 'waiting' AND {FIRST}"
    ))
    .planned_for_its_values()
    .bind::<Array<BigInt>, _>(places.iter().map(|place| place.webhook_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(places.iter().map(|place| place.id).collect::<Vec<_>>());
    let released = statement.execute(connection).await?;
    let is_end = (places.len() as i64) < limit;
    Ok((released, Some(last).filter(|_| !is_end)))
}

#[derive(QueryableByName)]
struct Lag {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    seen_at: Option<DateTime<Utc>>,
}

/// When the snapshot was taken up to which every event was read, while there is an endpoint.
///
/// # Errors
/// The database fails.
pub async fn seen_at(
    connection: &mut AsyncPgConnection,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let sql =
        "SELECT seen_at FROM webhook_progress WHERE EXISTS (SELECT FROM webhooks WHERE enabled)";
    let row: Option<Lag> = Statement::new(sql).get_result(connection).await.optional()?;
    Ok(row.and_then(|row| row.seen_at))
}
