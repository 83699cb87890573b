//! Carrying out replays: what the worker that holds the lease of a plan reads and writes.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{LetterRow, is_done};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// A plan that this worker carries out.
#[derive(Debug, Clone, QueryableByName)]
pub struct LeasedReplay {
    /// Its id.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// `canary`, `running` or `stopping`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Who made it.
    #[diesel(sql_type = Text)]
    pub created_by: String,
    /// How many letters go first.
    #[diesel(sql_type = Integer)]
    pub canary: i32,
    /// Letters a second.
    #[diesel(sql_type = Nullable<Integer>)]
    pub rate: Option<i32>,
    /// After how many letters that failed again it stops.
    #[diesel(sql_type = Nullable<Integer>)]
    pub max_failures: Option<i32>,
}

/// Leases each plan that is under way and that no other worker has, or renews the lease.
///
/// # Errors
/// The database fails.
pub async fn lease(
    connection: &mut AsyncPgConnection,
    owner: Uuid,
    length: Duration,
) -> Result<Vec<LeasedReplay>, StoreError> {
    let statement = Statement::new(
        "UPDATE replays SET lease_owner = $1, leased_until = now() + $2 * interval '1 ms'
         WHERE id IN (SELECT id FROM replays
                      WHERE state IN ('canary', 'running', 'stopping')
                          AND (lease_owner = $1 OR leased_until IS NULL OR leased_until < now())
                      ORDER BY id FOR UPDATE SKIP LOCKED)
         RETURNING id, state, created_by, canary, rate, max_failures",
    )
    .bind::<SqlUuid, _>(owner)
    .bind::<BigInt, _>(length.as_millis() as i64);
    Ok(statement.load(connection).await?)
}

/// Ends this worker's leases, so that another can go on at once.
///
/// # Errors
/// The database fails; then the leases end by themselves.
pub async fn release(connection: &mut AsyncPgConnection, owner: Uuid) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE replays SET leased_until = NULL
         WHERE lease_owner = $1 AND state IN ('canary', 'running', 'stopping')",
    )
    .bind::<SqlUuid, _>(owner);
    statement.execute(connection).await?;
    Ok(())
}

/// The next letters to be sent, at most `limit`, of the first `among` of the plan. Those that are
/// done already are settled instead. What a worker that died was sending is sent once more, which
/// repeats no effect. The stories of their events tell of the replay before it is sent, since what
/// follows may be quick.
///
/// # Errors
/// The database fails.
pub async fn next(
    connection: &mut AsyncPgConnection,
    replay: &LeasedReplay,
    among: Option<i64>,
    limit: i64,
) -> Result<Vec<LetterRow>, StoreError> {
    let statement = Statement::new(format!(
        "WITH chosen AS MATERIALIZED (
             SELECT l.letter_id, l.position, l.state AS before, {done} AS done
             FROM replay_letters l JOIN dead_letters d ON d.id = l.letter_id
             WHERE l.replay_id = $1 AND l.state IN ('waiting', 'sending') AND ($2 IS NULL OR l.position <= $2)
             ORDER BY l.position LIMIT $3),
         marked AS (
             UPDATE replay_letters l
             SET state = CASE WHEN c.done THEN 'already done' ELSE 'sending' END, changed_at = now()
             FROM chosen c WHERE l.replay_id = $1 AND l.letter_id = c.letter_id),
         settled AS (
             UPDATE dead_letters d SET state = 'replayed', settled_at = now(), settled_by = $4
             FROM chosen c WHERE c.done AND d.id = c.letter_id),
         of_events AS MATERIALIZED (
             SELECT d.id, d.event_id, d.attempts FROM dead_letters d JOIN chosen c ON c.letter_id = d.id
             WHERE NOT c.done AND c.before = 'waiting' AND d.is_ours AND d.event_id IS NOT NULL),
         queued AS (
             UPDATE unfinished_events u
             SET state = 'queued', since = now(), next_try_at = NULL, letter_id = NULL
             FROM of_events WHERE u.event_id = of_events.event_id AND u.letter_id = of_events.id),
         told AS (
             INSERT INTO event_steps (event_id, kind, attempt, retries, actor, message, letter_id)
             SELECT event_id, 'replayed', attempts, 0, $4, 'replay ' || $1, id FROM of_events)
         SELECT {columns} FROM dead_letters d JOIN chosen c ON c.letter_id = d.id
         WHERE NOT c.done ORDER BY c.position",
        done = is_done("d"),
        columns = columns(),
    ))
    .bind::<BigInt, _>(replay.id)
    .bind::<Nullable<BigInt>, _>(among)
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(replay.created_by.clone());
    Ok(statement.load(connection).await?)
}

fn columns() -> String {
    super::COLUMNS.split(", ").map(|name| format!("d.{name}")).collect::<Vec<_>>().join(", ")
}

/// Marks letters as sent.
///
/// # Errors
/// The database fails; then they are sent once more.
pub async fn sent(
    connection: &mut AsyncPgConnection,
    replay: &LeasedReplay,
    letters: &[String],
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE replay_letters SET state = 'sent', changed_at = now()
         WHERE replay_id = $1 AND letter_id = ANY($2) AND state = 'sending'",
    )
    .bind::<BigInt, _>(replay.id)
    .bind::<Array<Text>, _>(letters.to_vec());
    statement.execute(connection).await?;
    Ok(())
}

/// How far a plan has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Standing {
    /// How many letters have not been sent.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// How many of the canary have not been settled.
    #[diesel(sql_type = BigInt)]
    pub canary_open: i64,
    /// How many have been sent, and are not settled.
    #[diesel(sql_type = BigInt)]
    pub sent: i64,
    /// How many have failed again.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
}

/// Settles letters that were sent: those whose event is done, and those that have become another
/// letter. Then tells how far the plan has come.
///
/// # Errors
/// The database fails.
pub async fn settle(
    connection: &mut AsyncPgConnection,
    replay: &LeasedReplay,
) -> Result<Standing, StoreError> {
    let statement = Statement::new(format!(
        "WITH ended AS MATERIALIZED (
             SELECT l.letter_id, CASE WHEN again.id IS NOT NULL THEN 'failed' ELSE 'done' END AS state
             FROM replay_letters l JOIN dead_letters d ON d.id = l.letter_id
             LEFT JOIN LATERAL (
                 SELECT n.id FROM dead_letters n
                 WHERE n.replay_of = d.id AND n.is_ours = d.is_ours LIMIT 1) AS again ON true
             WHERE l.replay_id = $1 AND l.state = 'sent' AND (again.id IS NOT NULL OR {done})
             LIMIT 10000),
         marked AS (
             UPDATE replay_letters l SET state = ended.state, changed_at = now() FROM ended
             WHERE l.replay_id = $1 AND l.letter_id = ended.letter_id)
         UPDATE dead_letters d
         SET state = CASE WHEN ended.state = 'done' THEN 'replayed' ELSE 'failed again' END,
             settled_at = now(), settled_by = $2
         FROM ended WHERE d.id = ended.letter_id",
        done = is_done("d")
    ))
    .bind::<BigInt, _>(replay.id)
    .bind::<Text, _>(replay.created_by.clone());
    statement.execute(connection).await?;
    let statement = Statement::new(
        "SELECT count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS waiting,
                count(*) FILTER (WHERE state IN ('waiting', 'sending', 'sent') AND position <= $2) AS canary_open,
                count(*) FILTER (WHERE state = 'sent') AS sent,
                count(*) FILTER (WHERE state = 'failed') AS failed
         FROM replay_letters WHERE replay_id = $1",
    )
    .bind::<BigInt, _>(replay.id)
    .bind::<BigInt, _>(i64::from(replay.canary));
    Ok(statement.get_result(connection).await?)
}

/// Sets the state of a plan that this worker has leased, and why. Letters that a plan has not sent
/// when it stops are open again.
///
/// # Errors
/// The database fails.
pub async fn set_state(
    connection: &mut AsyncPgConnection,
    replay: &LeasedReplay,
    owner: Uuid,
    state: &'static str,
    reason: Option<String>,
) -> Result<(), StoreError> {
    transaction(connection, async |connection| {
        // An order to stop that came meanwhile counts.
        let statement = Statement::new(
            "UPDATE replays SET state = $3, reason = coalesce($4, reason),
                    ended_at = CASE WHEN $3 IN ('stopped', 'done') THEN now() END
             WHERE id = $1 AND lease_owner = $2 AND state = $5",
        )
        .bind::<BigInt, _>(replay.id)
        .bind::<SqlUuid, _>(owner)
        .bind::<Text, _>(state)
        .bind::<Nullable<Text>, _>(reason)
        .bind::<Text, _>(replay.state.clone());
        if statement.execute(connection).await? == 0 || state != "stopped" {
            return Ok(());
        }
        let statement = Statement::new(
            "WITH left_over AS (
                 UPDATE replay_letters SET state = 'waiting'
                 WHERE replay_id = $1 AND state IN ('waiting', 'sending') RETURNING letter_id)
             UPDATE dead_letters d SET state = 'open' FROM left_over
             WHERE d.id = left_over.letter_id AND d.state = 'replaying'",
        )
        .bind::<BigInt, _>(replay.id);
        statement.execute(connection).await?;
        Ok(())
    })
    .await
}
