//! The records of effects: which effect of which event is done, claimed by a worker, or open.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::processing::claim::Record;
use crate::domain::processing::effect::EffectKey;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

#[derive(QueryableByName)]
struct Claimed {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    effect: String,
}

/// An event whose effects are looked up, and what its delivery says about their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventRecord {
    /// The event.
    pub event_id: Uuid,
    /// How many effects it has in all. Each record has this number, which tells when the event is
    /// finished.
    pub effects: i16,
    /// Whether every effect has had a record. If so, a missing record means done and forgotten.
    pub recorded: bool,
}

/// Claims for `owner` those effects that are free by the rule
/// [`crate::domain::processing::claim::decide`], and returns them. `wanted` must have no
/// duplicates.
///
/// # Errors
/// The database fails.
pub async fn claim(
    connection: &mut AsyncPgConnection,
    wanted: &[(EffectKey, EventRecord)],
    owner: String,
    lease: Duration,
) -> Result<HashSet<(Uuid, String)>, StoreError> {
    // All workers take rows in one order, so that two with the same events wait instead of
    // deadlocking.
    let statement = Statement::new(format!(
        "INSERT INTO processed_messages AS p (event_id, effect, state, effects, claimed_by, claimed_until)
         SELECT event_id, effect, 'claimed', effects, $3, now() + $4 * interval '1 ms'
         FROM unnest({arrays}) AS t (event_id, effect, effects, recorded)
         WHERE NOT recorded OR (SELECT o.state IN ('open', 'claimed') FROM processed_messages o
                                WHERE o.event_id = t.event_id AND o.effect = t.effect)
         ORDER BY event_id, effect
         ON CONFLICT (event_id, effect) DO UPDATE
             SET state = 'claimed', claimed_by = excluded.claimed_by,
                 claimed_until = excluded.claimed_until, touched_at = now()
             WHERE p.state = 'open' OR p.state = 'claimed' AND p.claimed_until < now()
         RETURNING event_id, effect",
        arrays = unseen([1, 2, 5, 6])
    ))
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, s)| s.event_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(wanted.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>())
    .bind::<Text, _>(owner)
    .bind::<BigInt, _>(lease.as_millis() as i64)
    .bind::<Array<SmallInt>, _>(wanted.iter().map(|(_, s)| s.effects).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(wanted.iter().map(|(_, s)| s.recorded).collect::<Vec<_>>());
    let claimed: Vec<Claimed> = statement.load(connection).await?;
    Ok(claimed.into_iter().map(|row| (row.event_id, row.effect)).collect())
}

/// The records of these effects. Effects that have none are absent from the map.
///
/// # Errors
/// The database fails.
pub async fn records(
    connection: &mut AsyncPgConnection,
    wanted: &[(EffectKey, EventRecord)],
) -> Result<HashMap<(Uuid, String), Record>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
        #[diesel(sql_type = Text)]
        effect: String,
        #[diesel(sql_type = Text)]
        state: String,
        #[diesel(sql_type = BigInt)]
        leased_ms: i64,
    }
    let statement = Statement::new(format!(
        "SELECT event_id, effect, state,
                coalesce(greatest(0, ceil(extract(epoch FROM claimed_until - now()) * 1000)), 0)::bigint
                    AS leased_ms
         FROM processed_messages JOIN unnest({arrays}) AS t (event_id, effect) USING (event_id, effect)",
        arrays = unseen(1..=2)
    ))
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, s)| s.event_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(wanted.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>());
    let rows: Vec<Row> = statement.load(connection).await?;
    let record = |row: Row| {
        let record = match row.state.as_str() {
            "open" => Record::Open,
            "claimed" => Record::Claimed(Duration::from_millis(
                u64::try_from(row.leased_ms).unwrap_or_default(),
            )),
            _ => Record::Done,
        };
        ((row.event_id, row.effect), record)
    };
    Ok(rows.into_iter().map(record).collect())
}

/// An effect that is done, or was skipped for good.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The event it belongs to.
    pub event_id: Uuid,
    /// Which effect it is.
    pub effect: EffectKey,
    /// Whether there was nothing to do.
    pub skipped: bool,
    /// Why there was nothing to do, or what is worth keeping of what was done.
    pub note: Option<String>,
}

/// Records effects as done or skipped for good by `owner`, even if another worker holds the claim
/// by now: they have happened.
///
/// # Errors
/// The database fails.
pub async fn finish(
    connection: &mut AsyncPgConnection,
    finished: &[Finished],
    owner: String,
) -> Result<(), StoreError> {
    let statement = Statement::new(format!(
        "INSERT INTO processed_messages AS p (event_id, effect, state, note, claimed_by)
         SELECT event_id, effect, CASE WHEN skipped THEN 'skipped' ELSE 'done' END, note, $5
         FROM unnest({arrays}) AS t (event_id, effect, note, skipped) ORDER BY event_id, effect
         ON CONFLICT (event_id, effect) DO UPDATE
             SET state = excluded.state, note = excluded.note, claimed_by = excluded.claimed_by, claimed_until = NULL,
                 touched_at = now()",
        arrays = unseen(1..=4)
    ))
    .bind::<Array<SqlUuid>, _>(finished.iter().map(|f| f.event_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(finished.iter().map(|f| f.effect.to_string()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(finished.iter().map(|f| f.note.clone()).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(finished.iter().map(|f| f.skipped).collect::<Vec<_>>())
    .bind::<Text, _>(owner);
    statement.execute(connection).await?;
    Ok(())
}

/// Ends every claim. Called at its start by a process that has this database to itself.
///
/// # Errors
/// The database fails.
pub async fn release_all(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE processed_messages SET state = 'open', claimed_by = NULL, claimed_until = NULL
         WHERE state = 'claimed'",
    );
    statement.execute(connection).await?;
    Ok(())
}
