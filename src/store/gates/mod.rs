//! What keeps effects from running, and what waits for that: pauses, breakers, parked messages,
//! turns under a rate, places under a limit.

pub mod parked;
pub mod places;
pub mod turns;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;

use crate::domain::processing::gate::{Gate, Outage, Pause};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// The gate of an effect, and what waits before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectGate {
    /// The effect's name.
    pub effect: String,
    /// What stands before it.
    pub gate: Gate,
    /// Whether its breaker is open and the next probe may go.
    pub probe_is_due: bool,
    /// Whether a parked message may come back as soon as the gate is open.
    pub any_due: bool,
}

#[derive(QueryableByName)]
struct GateRow {
    #[diesel(sql_type = Text)]
    effect: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    paused_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    paused_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pause_reason: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    opened_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    probe_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    probe_is_due: bool,
    #[diesel(sql_type = Bool)]
    any_due: bool,
}

impl From<GateRow> for EffectGate {
    fn from(row: GateRow) -> EffectGate {
        let pause = row.paused_at.map(|since| Pause {
            by: row.paused_by.unwrap_or_default(),
            since,
            reason: row.pause_reason,
        });
        let outage = row.opened_at.map(|since| Outage {
            since,
            error: row.error.unwrap_or_default(),
            probe_at: row.probe_at,
        });
        EffectGate {
            effect: row.effect,
            gate: Gate { pause, outage },
            probe_is_due: row.probe_is_due,
            any_due: row.any_due,
        }
    }
}

/// The gates of these effects, in their order.
///
/// # Errors
/// The database fails.
pub async fn look(
    connection: &mut AsyncPgConnection,
    effects: &[&str],
) -> Result<Vec<EffectGate>, StoreError> {
    let statement = Statement::new(
        "SELECT n.effect, g.paused_at, g.paused_by, g.pause_reason, g.opened_at, g.error, g.probe_at,
             coalesce(g.opened_at IS NOT NULL AND g.probe_at <= now(), false) AS probe_is_due,
             EXISTS (SELECT FROM parked_messages p WHERE p.effect = n.effect AND p.due_at <= now()) AS any_due
         FROM unnest((SELECT $1)) WITH ORDINALITY AS n (effect, place)
         LEFT JOIN effect_gates g ON g.effect = n.effect
         ORDER BY n.place",
    )
    .bind::<Array<Text>, _>(effects.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let rows: Vec<GateRow> = statement.load(connection).await?;
    Ok(rows.into_iter().map(EffectGate::from).collect())
}

/// Pauses an effect. Whoever paused it first stays named. Returns whether it was running.
///
/// # Errors
/// The database fails.
pub async fn pause(
    connection: &mut AsyncPgConnection,
    effect: &str,
    by: &str,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "INSERT INTO effect_gates AS g (effect, paused_at, paused_by, pause_reason)
         VALUES ($1, now(), $2, $3)
         ON CONFLICT (effect) DO UPDATE
             SET paused_at = now(), paused_by = excluded.paused_by, pause_reason = excluded.pause_reason
             WHERE g.paused_at IS NULL",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<Text, _>(by.to_owned())
    .bind::<Nullable<Text>, _>(reason.map(str::to_owned));
    Ok(statement.execute(connection).await? > 0)
}

/// Opens the gate of an effect: ends its pause and closes its breaker. Returns whether there was
/// either.
///
/// # Errors
/// The database fails.
pub async fn resume(connection: &mut AsyncPgConnection, effect: &str) -> Result<bool, StoreError> {
    let statement = Statement::new("DELETE FROM effect_gates WHERE effect = $1")
        .bind::<Text, _>(effect.to_owned());
    Ok(statement.execute(connection).await? > 0)
}

/// Opens the breaker of an effect, unless it is open. The next probe waits for `pause`. Returns
/// whether it was closed.
///
/// # Errors
/// The database fails.
pub async fn open_breaker(
    connection: &mut AsyncPgConnection,
    effect: &str,
    worker: &str,
    error: &str,
    pause: Duration,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "INSERT INTO effect_gates AS g (effect, opened_at, opened_by, error, probe_at)
         VALUES ($1, now(), $2, $3, now() + $4 * interval '1 ms')
         ON CONFLICT (effect) DO UPDATE
             SET opened_at = now(), opened_by = excluded.opened_by, error = excluded.error,
                 probe_at = excluded.probe_at, probes = 0
             WHERE g.opened_at IS NULL",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<Text, _>(worker.to_owned())
    .bind::<Text, _>(error.to_owned())
    .bind::<BigInt, _>(pause.as_millis() as i64);
    Ok(statement.execute(connection).await? > 0)
}

/// Closes the breaker of an effect. Returns whether it was open.
///
/// # Errors
/// The database fails.
pub async fn close_breaker(
    connection: &mut AsyncPgConnection,
    effect: &str,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "UPDATE effect_gates
         SET opened_at = NULL, opened_by = NULL, error = NULL, probe_at = NULL, probes = 0
         WHERE effect = $1 AND opened_at IS NOT NULL",
    )
    .bind::<Text, _>(effect.to_owned());
    Ok(statement.execute(connection).await? > 0)
}

/// Takes the turn of the next probe: no other goes for `length`, unless this one's outcome is
/// known before. Returns whether this caller has it.
///
/// # Errors
/// The database fails.
pub async fn take_probe(
    connection: &mut AsyncPgConnection,
    effect: &str,
    length: Duration,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "UPDATE effect_gates SET probe_at = now() + $2 * interval '1 ms'
         WHERE effect = $1 AND opened_at IS NOT NULL AND paused_at IS NULL AND probe_at <= now()",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<BigInt, _>(length.as_millis() as i64);
    Ok(statement.execute(connection).await? > 0)
}

/// Says when the next probe may go, after one that did not close the breaker. One that failed has
/// an error, and is counted; `pauses` has the pause after each count, the last one for all others.
///
/// # Errors
/// The database fails.
pub async fn probe_ended(
    connection: &mut AsyncPgConnection,
    effect: &str,
    error: Option<&str>,
    pauses: &[Duration],
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE effect_gates
         SET probe_at = now() + CASE WHEN $2 IS NULL THEN interval '0'
                 ELSE ($3)[least(probes + 2, cardinality($3))] * interval '1 ms' END,
             probes = probes + CASE WHEN $2 IS NULL THEN 0 ELSE 1 END,
             error = coalesce($2, error)
         WHERE effect = $1 AND opened_at IS NOT NULL",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<Nullable<Text>, _>(error.map(str::to_owned))
    .bind::<Array<BigInt>, _>(pauses.iter().map(|p| p.as_millis() as i64).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}
