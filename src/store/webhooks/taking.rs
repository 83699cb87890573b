//! Takes deliveries that are due, under a lease, and reads all that their sending needs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Bytea, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::delays;
use super::fan_out::VISIBLE;
use crate::domain::webhook::USUAL_DELAYS;
use crate::store::StoreError;
use crate::store::delivery::outbox::OutboxRow;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

/// How many deliveries may be taken.
#[derive(Debug, Clone)]
pub struct Room {
    /// Of all endpoints that are not doubtful.
    pub trusted: i32,
    /// Of all that are.
    pub doubtful: i32,
    /// Of each of these, and whether it is doubtful; of any other, which is doubtful, one.
    pub endpoints: Vec<(i64, i32, bool)>,
    /// How long nobody else takes them.
    pub lease: Duration,
}

/// A delivery that was taken.
#[derive(Debug, QueryableByName)]
pub struct TakenRow {
    /// The endpoint.
    #[diesel(sql_type = BigInt)]
    pub webhook_id: i64,
    /// Its id.
    #[diesel(sql_type = BigInt)]
    pub delivery_id: i64,
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// How often it was taken since its schedule began, with this time.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// Tells this lease from every other.
    #[diesel(sql_type = BigInt)]
    pub lease: i64,
    /// Where it is to be sent.
    #[diesel(sql_type = Text)]
    pub url: String,
    /// The endpoint's secret, sealed.
    #[diesel(sql_type = Bytea)]
    pub secret: Vec<u8>,
    /// Those before, while they count.
    #[diesel(sql_type = Array<Bytea>)]
    pub old_secrets: Vec<Vec<u8>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    retry_delays: Option<Vec<i64>>,
    /// Since when no delivery has succeeded.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub failing_since: Option<DateTime<Utc>>,
    /// Whether the endpoint's owner may see the event.
    #[diesel(sql_type = Bool)]
    pub visible: bool,
    /// Whether the event may tell what its task was when it was not the owner's: that is not for a
    /// member.
    #[diesel(sql_type = Bool)]
    pub conceals: bool,
    /// The event; `None` if it is gone.
    #[diesel(embed)]
    pub event: Option<OutboxRow>,
}

impl TakenRow {
    /// The delays before retries.
    pub fn retry_delays(&self) -> Vec<Duration> {
        self.retry_delays.as_deref().map_or(USUAL_DELAYS.to_vec(), delays)
    }
}

/// Takes deliveries that are due, the longest due first of each endpoint. The endpoints come in any
/// order, so that none is left out for long. An endpoint's rate is kept over all processes: its row
/// is locked, and whoever finds it locked leaves it out.
///
/// # Errors
/// The database fails; then none is taken, or all are when their lease has run out.
pub async fn take(
    connection: &mut AsyncPgConnection,
    room: &Room,
) -> Result<Vec<TakenRow>, StoreError> {
    let statement = Statement::new(format!(
        "WITH room AS (
             SELECT w.id, coalesce(o.most, 1) AS most, coalesce(o.doubtful, true) AS doubtful, w.rate_count
             FROM webhooks w LEFT JOIN unnest({arrays}) AS o (id, most, doubtful) ON o.id = w.id
             WHERE w.enabled AND coalesce(o.most, 1) > 0
                 AND EXISTS (SELECT FROM webhook_deliveries d
                             WHERE d.webhook_id = w.id AND d.state = 'pending' AND d.due_at <= now())),
         slowed AS MATERIALIZED (
             SELECT w.id, least(room.most, floor(
                 least(1, extract(epoch FROM now() - greatest(w.rate_from, now() - {PERIOD})) * 1000 / w.rate_period_ms)
                     * w.rate_count))::integer AS most, room.doubtful
             FROM room JOIN webhooks w ON w.id = room.id
             WHERE w.rate_count IS NOT NULL FOR NO KEY UPDATE OF w SKIP LOCKED),
         chosen AS MATERIALIZED (
             SELECT id, most, doubtful FROM room WHERE rate_count IS NULL
             UNION ALL SELECT id, most, doubtful FROM slowed WHERE most > 0),
         picked_trusted AS MATERIALIZED ({trusted}),
         picked_doubtful AS MATERIALIZED ({doubtful}),
         picked AS (SELECT * FROM picked_trusted UNION ALL SELECT * FROM picked_doubtful),
         taken AS (
             UPDATE webhook_deliveries d
             SET due_at = now() + $2 * interval '1 ms', attempt = d.attempt + 1, lease = d.lease + 1
             FROM picked WHERE d.webhook_id = picked.webhook_id AND d.id = picked.id
             RETURNING d.webhook_id, d.id, d.event_id, d.attempt, d.lease),
         counted AS (
             UPDATE webhooks w
             SET rate_from = greatest(w.rate_from, now() - {PERIOD})
                 + n.taken * (w.rate_period_ms::double precision / w.rate_count) * interval '1 ms'
             FROM (SELECT webhook_id, count(*) AS taken FROM picked GROUP BY webhook_id) AS n
             WHERE w.id = n.webhook_id AND w.rate_count IS NOT NULL)
         SELECT taken.webhook_id, taken.id AS delivery_id, taken.event_id, taken.attempt, taken.lease, w.url, w.secret,
             CASE WHEN w.old_secret_until > now() THEN w.old_secrets ELSE '{{}}' END AS old_secrets, w.retry_delays,
             w.failing_since, coalesce({VISIBLE}, false) AS visible,
             coalesce(u.role = 'member' AND e.user_before IS DISTINCT FROM w.user_id, false) AS conceals,
             e.id, e.seq, e.type, e.payload::text AS payload, e.occurred_at, e.actor_kind, e.actor_id,
             e.causation_id, e.traceparent
         FROM taken JOIN webhooks w ON w.id = taken.webhook_id
         LEFT JOIN users u ON u.id = w.user_id
         LEFT JOIN events e ON e.id = taken.event_id",
        arrays = unseen(4..=6),
        trusted = picked("NOT doubtful", 1),
        doubtful = picked("doubtful", 3),
    ))
    .planned_for_its_values()
    .bind::<BigInt, _>(i64::from(room.trusted))
    .bind::<BigInt, _>(room.lease.as_millis() as i64)
    .bind::<BigInt, _>(i64::from(room.doubtful))
    .bind::<Array<BigInt>, _>(room.endpoints.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(room.endpoints.iter().map(|(_, most, _)| *most).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(room.endpoints.iter().map(|(.., is)| *is).collect::<Vec<_>>());
    Ok(statement.load(connection).await?)
}

/// The deliveries that are due of some of the endpoints, locked, at most as many as a parameter
/// says. The endpoints come in any order.
fn picked(which: &str, limit: usize) -> String {
    format!(
        "SELECT due.webhook_id, due.id
         FROM (SELECT id, most FROM chosen WHERE {which} ORDER BY random()) AS chosen CROSS JOIN LATERAL (
             SELECT d.webhook_id, d.id FROM webhook_deliveries d
             WHERE d.webhook_id = chosen.id AND d.state = 'pending' AND d.due_at <= now()
             ORDER BY d.due_at LIMIT chosen.most FOR UPDATE SKIP LOCKED) AS due
         LIMIT ${limit}"
    )
}

/// The period of the rate of the endpoint `w`.
const PERIOD: &str = "w.rate_period_ms * interval '1 ms'";

/// Gives back deliveries that could not be tried: they are due after this time, as if they had not
/// been taken.
///
/// # Errors
/// The database fails; then their lease runs out, and a try is counted that was none.
pub async fn give_back(
    connection: &mut AsyncPgConnection,
    (webhook_id, delivery_id, lease): (i64, i64, i64),
    after: Duration,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE webhook_deliveries SET due_at = now() + $4 * interval '1 ms', attempt = greatest(attempt - 1, 0)
         WHERE webhook_id = $1 AND id = $2 AND state = 'pending' AND lease = $3",
    )
    .bind::<BigInt, _>(webhook_id)
    .bind::<BigInt, _>(delivery_id)
    .bind::<BigInt, _>(lease)
    .bind::<BigInt, _>(after.as_millis() as i64);
    statement.execute(connection).await?;
    Ok(())
}
