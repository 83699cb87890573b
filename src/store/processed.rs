//! Which effect of which event is done, or being run by whom.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

#[derive(QueryableByName)]
struct EventId {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

/// Claims an effect of these events for `owner`, where it is free: never tried, or its lease ran
/// out. Returns the events claimed. The ids must be distinct.
///
/// # Errors
/// The database fails.
pub async fn claim(
    connection: &mut AsyncPgConnection,
    effect: &'static str,
    events: Vec<Uuid>,
    owner: String,
    lease: Duration,
) -> Result<Vec<Uuid>, StoreError> {
    // Rows in one order, so that two workers with the same events wait instead of deadlocking.
    let statement = Statement::new(
        "INSERT INTO processed_messages AS p (event_id, effect, state, claimed_by, claimed_until)
         SELECT event_id, $2, 'claimed', $3, now() + $4 * interval '1 ms'
         FROM unnest($1) AS event_id ORDER BY event_id
         ON CONFLICT (event_id, effect) DO UPDATE
             SET claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until, touched_at = now()
             WHERE p.state = 'claimed' AND p.claimed_until < now()
         RETURNING event_id",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Text, _>(effect)
    .bind::<Text, _>(owner)
    .bind::<BigInt, _>(lease.as_millis() as i64);
    let claimed: Vec<EventId> = statement.load(connection).await?;
    Ok(claimed.into_iter().map(|row| row.event_id).collect())
}

/// What stands about an effect of an event that could not be claimed.
#[derive(Debug, QueryableByName)]
pub struct Standing {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// For how many milliseconds somebody's lease still runs; null if the effect is done.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub leased_ms: Option<i64>,
}

/// Looks up those.
///
/// # Errors
/// The database fails.
pub async fn standings(
    connection: &mut AsyncPgConnection,
    effect: &'static str,
    events: Vec<Uuid>,
) -> Result<Vec<Standing>, StoreError> {
    let statement = Statement::new(
        "SELECT event_id,
                CASE WHEN state = 'claimed'
                     THEN greatest(0, ceil(extract(epoch FROM claimed_until - now()) * 1000))::bigint
                END AS leased_ms
         FROM processed_messages WHERE event_id = ANY($1) AND effect = $2",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Text, _>(effect);
    Ok(statement.load(connection).await?)
}

/// An effect that has come to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The event.
    pub event_id: Uuid,
    /// The effect.
    pub effect: &'static str,
    /// Why there was nothing to do, where there wasn't.
    pub skipped: Option<String>,
}

/// Records effects as done or skipped for good, whoever holds the claim by now: they have happened.
///
/// # Errors
/// The database fails.
pub async fn finish(
    connection: &mut AsyncPgConnection,
    finished: &[Finished],
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO processed_messages AS p (event_id, effect, state, note)
         SELECT event_id, effect, CASE WHEN note IS NULL THEN 'done' ELSE 'skipped' END, note
         FROM unnest($1, $2, $3) AS t (event_id, effect, note) ORDER BY event_id, effect
         ON CONFLICT (event_id, effect) DO UPDATE
             SET state = excluded.state, note = excluded.note, claimed_by = NULL, claimed_until = NULL,
                 touched_at = now()",
    )
    .bind::<Array<SqlUuid>, _>(finished.iter().map(|f| f.event_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(finished.iter().map(|f| f.effect).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(finished.iter().map(|f| f.skipped.clone()).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}

/// Gives claims back, after a failure.
///
/// # Errors
/// The database fails; then the lease ends by itself.
pub async fn release(
    connection: &mut AsyncPgConnection,
    effect: &'static str,
    events: Vec<Uuid>,
    owner: String,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "DELETE FROM processed_messages
         WHERE event_id = ANY($1) AND effect = $2 AND state = 'claimed' AND claimed_by = $3",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Text, _>(effect)
    .bind::<Text, _>(owner);
    statement.execute(connection).await?;
    Ok(())
}

/// Gives every claim back: for the one process that uses this database, at its start.
///
/// # Errors
/// The database fails.
pub async fn release_all(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    let statement = Statement::new("DELETE FROM processed_messages WHERE state = 'claimed'");
    statement.execute(connection).await?;
    Ok(())
}
