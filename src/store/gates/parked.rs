//! Messages that wait for a gate.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::processing::failure::Hold;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// A message to be parked.
#[derive(Debug, Clone)]
pub struct ToPark {
    /// Its event's id.
    pub event_id: Uuid,
    /// The name of the effect that it waits for.
    pub effect: &'static str,
    /// How it waits.
    pub hold: Hold,
    /// Its properties and headers as JSON.
    pub message: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// Parks a message. A copy that is there already is replaced: effects are done once for an event,
/// so one message is enough.
///
/// # Errors
/// The database fails; then it is not parked.
pub async fn park(connection: &mut AsyncPgConnection, new: &ToPark) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO parked_messages AS p (event_id, effect, due_at, has_turn, message, body)
         VALUES ($1, $2, now() + $3 * interval '1 ms', $4, $5, $6)
         ON CONFLICT (event_id, effect) DO UPDATE
             SET due_at = excluded.due_at, has_turn = excluded.has_turn, message = excluded.message,
                 body = excluded.body, lease = NULL",
    )
    .bind::<SqlUuid, _>(new.event_id)
    .bind::<Text, _>(new.effect)
    .bind::<BigInt, _>(new.hold.at_least.as_millis() as i64)
    .bind::<Bool, _>(new.hold.has_turn)
    .bind::<Text, _>(new.message.clone())
    .bind::<Binary, _>(new.body.clone());
    statement.execute(connection).await?;
    Ok(())
}

/// A message that comes back.
#[derive(Debug, QueryableByName)]
pub struct ParkedMessage {
    /// The row's id.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Whether it has its turn now, under the effect's rate.
    #[diesel(sql_type = Bool)]
    pub has_turn: bool,
    /// Its properties and headers as JSON.
    #[diesel(sql_type = Text)]
    pub message: String,
    /// Its body.
    #[diesel(sql_type = Binary)]
    pub body: Vec<u8>,
}

/// A turn that is missed by more than this has gone: else all that a pause has made late would come
/// back at once, and each message would wait for its start in the hand of a worker.
const LATE: &str = "interval '2 s'";

/// Leases messages that wait for this effect and are due, those that are due longest first. Their
/// stories tell that `worker` brought them back before it happens, since what follows may be quick.
///
/// # Errors
/// The database fails.
pub async fn lease(
    connection: &mut AsyncPgConnection,
    effect: &str,
    (lease, length): (Uuid, Duration),
    worker: &str,
    limit: i64,
) -> Result<Vec<ParkedMessage>, StoreError> {
    let statement = Statement::new(format!(
        "WITH due AS MATERIALIZED (
             SELECT id, event_id, has_turn AND due_at > now() - {LATE} AS has_turn FROM parked_messages
             WHERE effect = $1 AND due_at <= now()
             ORDER BY due_at, id LIMIT $5 FOR UPDATE SKIP LOCKED),
         told AS (
             INSERT INTO event_steps (event_id, kind, attempt, retries, effect, actor, message)
             SELECT u.event_id, 'released', u.attempt, u.retries, $1, $4, 'it came back'
             FROM due JOIN unfinished_events u ON u.event_id = due.event_id
             WHERE u.state = 'parked' AND u.attempt IS NOT NULL AND u.retries IS NOT NULL
             ORDER BY u.event_id),
         queued AS (
             UPDATE unfinished_events u SET state = 'queued', since = now(), next_try_at = NULL
             FROM (SELECT event_id FROM due ORDER BY event_id) AS d
             WHERE u.event_id = d.event_id AND u.state = 'parked')
         UPDATE parked_messages p SET due_at = now() + $3 * interval '1 ms', lease = $2
         FROM due WHERE p.id = due.id
         RETURNING p.id, due.has_turn, p.message, p.body"
    ))
    .bind::<Text, _>(effect.to_owned())
    .bind::<SqlUuid, _>(lease)
    .bind::<BigInt, _>(length.as_millis() as i64)
    .bind::<Text, _>(worker.to_owned())
    .bind::<BigInt, _>(limit);
    let mut rows: Vec<ParkedMessage> = statement.load(connection).await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Deletes messages that have come back. One that was parked anew meanwhile stays.
///
/// # Errors
/// The database fails.
pub async fn delete(
    connection: &mut AsyncPgConnection,
    ids: Vec<i64>,
    lease: Uuid,
) -> Result<(), StoreError> {
    let statement = Statement::new("DELETE FROM parked_messages WHERE id = ANY($1) AND lease = $2")
        .bind::<Array<BigInt>, _>(ids)
        .bind::<SqlUuid, _>(lease);
    statement.execute(connection).await?;
    Ok(())
}

/// How far parked messages are counted.
pub const COUNTED: i64 = 100_000;

/// How many messages wait for each of these effects, counted up to `most`.
///
/// # Errors
/// The database fails.
pub async fn counts(
    connection: &mut AsyncPgConnection,
    effects: &[&str],
    most: i64,
) -> Result<HashMap<String, i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = Text)]
        effect: String,
        #[diesel(sql_type = BigInt)]
        parked: i64,
    }
    let statement = Statement::new(
        "SELECT n.effect, (SELECT count(*) FROM (SELECT FROM parked_messages p WHERE p.effect = n.effect
                                                 LIMIT $2) AS counted) AS parked
         FROM unnest((SELECT $1)) AS n (effect)",
    )
    .bind::<Array<Text>, _>(effects.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    .bind::<BigInt, _>(most);
    let counts: Vec<Count> = statement.load(connection).await?;
    Ok(counts.into_iter().map(|count| (count.effect, count.parked)).collect())
}

/// Messages that wait for an effect which this version does not have.
#[derive(Debug, QueryableByName)]
pub struct Orphans {
    /// The effect's name.
    #[diesel(sql_type = Text)]
    pub effect: String,
    /// How many messages wait for it, counted up to [`COUNTED`].
    #[diesel(sql_type = BigInt)]
    pub parked: i64,
    /// When the first of the counted ones was parked.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
}

/// What waits for effects other than these.
///
/// # Errors
/// The database fails.
pub async fn orphans(
    connection: &mut AsyncPgConnection,
    effects: &[&str],
) -> Result<Vec<Orphans>, StoreError> {
    // From name to name through the index, whatever waits for each.
    let statement = Statement::new(
        "WITH RECURSIVE names AS (
             (SELECT effect FROM parked_messages ORDER BY effect LIMIT 1)
             UNION ALL
             SELECT (SELECT p.effect FROM parked_messages p WHERE p.effect > n.effect
                     ORDER BY p.effect LIMIT 1)
             FROM names n WHERE n.effect IS NOT NULL)
         SELECT n.effect, c.parked, c.since
         FROM names n CROSS JOIN LATERAL (
             SELECT count(*) AS parked, min(counted.parked_at) AS since
             FROM (SELECT p.parked_at FROM parked_messages p WHERE p.effect = n.effect
                   ORDER BY p.due_at, p.id LIMIT $2) AS counted) AS c
         WHERE n.effect <> ALL ($1) AND c.parked > 0
         ORDER BY n.effect",
    )
    .bind::<Array<Text>, _>(effects.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    .bind::<BigInt, _>(COUNTED);
    Ok(statement.load(connection).await?)
}

/// Lets the messages of an effect come back at once, also those that have a turn to come.
///
/// # Errors
/// The database fails.
pub async fn hurry(connection: &mut AsyncPgConnection, effect: &str) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE parked_messages SET due_at = now(), has_turn = false
         WHERE effect = $1 AND due_at > now() AND lease IS NULL",
    )
    .bind::<Text, _>(effect.to_owned());
    statement.execute(connection).await?;
    Ok(())
}
