//! What stands in the way of events: failed attempts, waits and dead letters.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::processing::effect::EffectKey;
use crate::domain::processing::setback::Setback;
use crate::store::StoreError;
use crate::store::delivery::processed::EventRecord;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

/// Who meets a setback, and with which dead letter it ends.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// The worker's name.
    pub worker: &'a str,
    /// The owner of its claims.
    pub owner: &'a str,
    /// The id of the dead letter, if the message becomes one.
    pub letter: Option<&'a str>,
}

/// Records a setback of an event, and leaves its `open` effects open: ends the owner's claims, and
/// makes a record of effects that were not begun. Effects that are done stay done, and the claims
/// of others stay theirs. An event that waits for the same reason as before has no new step.
///
/// # Errors
/// The database fails.
pub async fn record(
    connection: &mut AsyncPgConnection,
    event: EventRecord,
    open: &[EffectKey],
    setback: &Setback,
    by: Reporter<'_>,
) -> Result<(), StoreError> {
    let cause = setback.cause();
    let key = |effect: &Option<EffectKey>| effect.as_ref().map(EffectKey::to_string);
    // If `recorded`, a missing record means that the effect is done: it must not be opened again.
    let statement = Statement::new(format!(
        "WITH opened AS (
             INSERT INTO processed_messages AS p (event_id, effect, state, effects)
             SELECT $1, effect, 'open', $3 FROM unnest({open}) AS wanted (effect)
             WHERE NOT $4 OR (SELECT o.state IN ('open', 'claimed') FROM processed_messages o
                              WHERE o.event_id = $1 AND o.effect = wanted.effect)
             ORDER BY effect
             ON CONFLICT (event_id, effect) DO UPDATE
                 SET state = 'open', claimed_by = NULL, claimed_until = NULL, touched_at = now()
                 WHERE p.state = 'claimed' AND p.claimed_by = $5),
         noted AS (
             INSERT INTO unfinished_events AS u
                 (event_id, state, attempt, retries, effect, reason, next_try_at, letter_id)
             VALUES ($1, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (event_id) DO UPDATE
                 SET state = excluded.state, attempt = excluded.attempt, retries = excluded.retries,
                     effect = excluded.effect, reason = excluded.reason,
                     next_try_at = excluded.next_try_at, letter_id = excluded.letter_id,
                     since = CASE WHEN u.state = excluded.state THEN u.since ELSE excluded.since END)
         INSERT INTO event_steps (event_id, kind, attempt, retries, effect, actor, message, next_try_at, letter_id)
         SELECT $1, kind, $7, $8, effect, $13, message, $11, $12
         FROM unnest({steps}) AS step (kind, effect, message)
         WHERE kind <> 'parked' OR NOT EXISTS (
             SELECT FROM unfinished_events u
             WHERE u.event_id = $1 AND u.state = 'parked'
                 AND u.effect IS NOT DISTINCT FROM step.effect AND u.reason = step.message)",
        open = unseen([2]),
        steps = unseen(14..=16)
    ))
    .bind::<SqlUuid, _>(event.event_id)
    .bind::<Array<Text>, _>(open.iter().map(EffectKey::to_string).collect::<Vec<_>>())
    .bind::<SmallInt, _>(event.effects)
    .bind::<Bool, _>(event.recorded)
    .bind::<Text, _>(by.owner.to_owned())
    .bind::<Text, _>(setback.state.as_str())
    .bind::<Integer, _>(i32::try_from(setback.attempt).unwrap_or(i32::MAX))
    .bind::<Integer, _>(i32::try_from(setback.retries).unwrap_or(i32::MAX))
    .bind::<Nullable<Text>, _>(cause.and_then(|step| key(&step.effect)))
    .bind::<Nullable<Text>, _>(cause.map(|step| step.message.clone()))
    .bind::<Nullable<Timestamptz>, _>(setback.next_try_at)
    .bind::<Nullable<Text>, _>(by.letter.map(str::to_owned))
    .bind::<Text, _>(by.worker.to_owned())
    .bind::<Array<Text>, _>(setback.steps.iter().map(|s| s.kind.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(setback.steps.iter().map(|s| key(&s.effect)).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(setback.steps.iter().map(|s| s.message.clone()).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}

/// One thing that happened to an event, besides what went well.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct StepRow {
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// The name of a [`StepKind`](crate::domain::processing::setback::StepKind).
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The attempt, from 1; it starts again at 1 after a replay.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// How many retries there were in all.
    #[diesel(sql_type = Integer)]
    pub retries: i32,
    /// `NAME` or `NAME/TARGET` of the effect; `None` if it concerns the whole message.
    #[diesel(sql_type = Nullable<Text>)]
    pub effect: Option<String>,
    /// The worker, or whoever replayed or discarded it.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// The error or the reason.
    #[diesel(sql_type = Text)]
    pub message: String,
    /// When the message was to come back by itself.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_try_at: Option<DateTime<Utc>>,
    /// The dead letter it became, was or was replayed from.
    #[diesel(sql_type = Nullable<Text>)]
    pub letter_id: Option<String>,
}

/// How many steps of an event are read: the newest.
const MOST_STEPS: i64 = 500;

/// The newest steps of an event, oldest first.
///
/// # Errors
/// The database fails.
pub async fn steps(
    connection: &mut AsyncPgConnection,
    event_id: Uuid,
) -> Result<Vec<StepRow>, StoreError> {
    let statement = Statement::new(
        "SELECT at, kind, attempt, retries, effect, actor, message, next_try_at, letter_id
         FROM event_steps WHERE event_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind::<SqlUuid, _>(event_id)
    .bind::<BigInt, _>(MOST_STEPS);
    let mut rows: Vec<StepRow> = statement.load(connection).await?;
    rows.reverse();
    Ok(rows)
}
