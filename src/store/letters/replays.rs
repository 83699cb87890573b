//! Replays: plans, and the letters that each has taken.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use serde_json::Value;

use super::selection::filtered;
use super::{LetterFilter, LetterState};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// A plan that is to be made.
#[derive(Debug, Clone)]
pub struct NewReplay {
    /// Who makes it.
    pub created_by: String,
    /// How many letters go first.
    pub canary: i32,
    /// Letters a second; `None` is as fast as it goes.
    pub rate: Option<i32>,
    /// After how many letters that failed again it stops; `None` is never.
    pub max_failures: Option<i32>,
}

/// A plan, and how far it has come.
#[derive(Debug, Clone, QueryableByName)]
pub struct ReplayRow {
    /// Its id.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// By whom.
    #[diesel(sql_type = Text)]
    pub created_by: String,
    /// The filter that chose its letters.
    #[diesel(sql_type = Jsonb)]
    pub selection: Value,
    /// `canary`, `running`, `stopping`, `stopped` or `done`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Why it stopped.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// How many letters go first.
    #[diesel(sql_type = Integer)]
    pub canary: i32,
    /// Letters a second.
    #[diesel(sql_type = Nullable<Integer>)]
    pub rate: Option<i32>,
    /// After how many letters that failed again it stops.
    #[diesel(sql_type = Nullable<Integer>)]
    pub max_failures: Option<i32>,
    /// When it ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether a worker carries it out at this moment.
    #[diesel(sql_type = Bool)]
    pub carried_out: bool,
    /// How many letters have not been sent.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// How many have been sent, and are not settled.
    #[diesel(sql_type = BigInt)]
    pub sent: i64,
    /// How many are done.
    #[diesel(sql_type = BigInt)]
    pub done: i64,
    /// How many have failed again.
    #[diesel(sql_type = BigInt)]
    pub failed_again: i64,
    /// How many were done before.
    #[diesel(sql_type = BigInt)]
    pub already_done: i64,
    /// How many others have dealt with while it was stopped.
    #[diesel(sql_type = BigInt)]
    pub put_back: i64,
}

/// The columns of a [`ReplayRow`] of the plan `r`.
const COLUMNS: &str =
    "r.id, r.created_at, r.created_by, r.selection, r.state, r.reason, r.canary, r.rate,
     r.max_failures, r.ended_at, coalesce(r.leased_until > now(), false) AS carried_out, c.*";
/// How many of its letters are in each state.
const COUNTS: &str = "LATERAL (
         SELECT count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS waiting,
                count(*) FILTER (WHERE state = 'sent') AS sent,
                count(*) FILTER (WHERE state = 'done') AS done,
                count(*) FILTER (WHERE state = 'failed') AS failed_again,
                count(*) FILTER (WHERE state = 'already done') AS already_done,
                count(*) FILTER (WHERE state = 'put back') AS put_back
         FROM replay_letters WHERE replay_id = r.id) AS c";

/// How many letters are taken in one statement.
const TAKEN_AT_ONCE: i64 = 20_000;

/// Makes a plan of the open letters that pass the filter, oldest first. They are its own from then
/// on.
///
/// # Errors
/// The database fails; then there is no plan.
pub async fn create(
    connection: &mut AsyncPgConnection,
    plan: &NewReplay,
    filter: &LetterFilter,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    transaction(connection, async |connection| {
        let statement = Statement::new(
            "INSERT INTO replays (created_by, selection, state, canary, rate, max_failures)
             VALUES ($1, $2, CASE WHEN $3 > 0 THEN 'canary' ELSE 'running' END, $3, $4, $5) RETURNING id",
        )
        .bind::<Text, _>(plan.created_by.clone())
        .bind::<Jsonb, _>(serde_json::json!(filter))
        .bind::<Integer, _>(plan.canary)
        .bind::<Nullable<Integer>, _>(plan.rate)
        .bind::<Nullable<Integer>, _>(plan.max_failures);
        let Id { id } = statement.get_result(connection).await?;
        let mut taken = 0;
        loop {
            let statement = filtered(
                format!(
                    "WITH chosen AS MATERIALIZED (
                         SELECT id, row_number() OVER (ORDER BY died_at, id) AS n FROM (
                             SELECT id, died_at FROM dead_letters WHERE {condition} AND state = 'open'
                             ORDER BY died_at, id LIMIT $8) AS oldest),
                     taken AS (
                         UPDATE dead_letters d SET state = 'replaying' FROM chosen
                         WHERE d.id = chosen.id AND d.state = 'open' RETURNING d.id, chosen.n)
                     INSERT INTO replay_letters (replay_id, letter_id, position, state)
                     SELECT $9, id, $10 + n, 'waiting' FROM taken",
                    condition = filter.condition()
                ),
                filter,
            )
            .bind::<BigInt, _>(TAKEN_AT_ONCE)
            .bind::<BigInt, _>(id)
            .bind::<BigInt, _>(taken);
            let more = statement.execute(connection).await? as i64;
            taken += more;
            if more == 0 {
                return Ok(id);
            }
        }
    })
    .await
}

/// Finds a plan.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<ReplayRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM replays r, {COUNTS} WHERE r.id = $1");
    let statement = Statement::new(sql).bind::<BigInt, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}

/// The plans before `before`, newest first.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<ReplayRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM replays WHERE id < $1 ORDER BY id DESC LIMIT $2) AS r, {COUNTS}
         ORDER BY r.id DESC"
    );
    let statement =
        Statement::new(sql).bind::<BigInt, _>(before.unwrap_or(i64::MAX)).bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// Orders a plan to stop. What has been sent goes on. Returns whether it was under way.
///
/// # Errors
/// The database fails.
pub async fn stop(
    connection: &mut AsyncPgConnection,
    id: i64,
    reason: &str,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "UPDATE replays SET state = 'stopping', reason = $2
         WHERE id = $1 AND state IN ('canary', 'running')",
    )
    .bind::<BigInt, _>(id)
    .bind::<Text, _>(reason.to_owned());
    Ok(statement.execute(connection).await? > 0)
}

/// Lets a stopped plan go on with those of its letters that nobody has dealt with meanwhile.
/// Returns whether it was stopped.
///
/// # Errors
/// The database fails; then it stays stopped.
pub async fn resume(connection: &mut AsyncPgConnection, id: i64) -> Result<bool, StoreError> {
    transaction(connection, async |connection| {
        // A canary that failed is not sent again: the plan goes on with what was left.
        let statement = Statement::new(
            "UPDATE replays SET state = 'running', reason = NULL, ended_at = NULL
             WHERE id = $1 AND state = 'stopped'",
        )
        .bind::<BigInt, _>(id);
        if statement.execute(connection).await? == 0 {
            return Ok(false);
        }
        let statement = Statement::new(
            "WITH taken AS (
                 UPDATE dead_letters d SET state = 'replaying' FROM replay_letters l
                 WHERE l.replay_id = $1 AND l.state = 'waiting' AND d.id = l.letter_id AND d.state = 'open'
                 RETURNING d.id)
             UPDATE replay_letters SET state = 'put back', changed_at = now()
             WHERE replay_id = $1 AND state = 'waiting' AND letter_id NOT IN (SELECT id FROM taken)",
        )
        .bind::<BigInt, _>(id);
        statement.execute(connection).await?;
        Ok(true)
    })
    .await
}

/// What a replay of the letters that pass a filter would do.
#[derive(Debug, Clone, QueryableByName)]
pub struct ForecastRow {
    /// A cause.
    #[diesel(sql_type = Text)]
    pub fingerprint: String,
    /// The error of one of its letters, without what differs.
    #[diesel(sql_type = Text)]
    pub pattern: String,
    /// How many of the letters have it.
    #[diesel(sql_type = BigInt)]
    pub letters: i64,
    /// How many of them are done already, so that nothing will be sent.
    #[diesel(sql_type = BigInt)]
    pub already_done: i64,
    /// How many are certain to fail again, since they are not believed or can't be read.
    #[diesel(sql_type = BigInt)]
    pub hopeless: i64,
}

/// Forecasts a replay, by cause.
///
/// # Errors
/// The database fails.
pub async fn forecast(
    connection: &mut AsyncPgConnection,
    filter: &LetterFilter,
) -> Result<Vec<ForecastRow>, StoreError> {
    let statement = filtered(
        format!(
            "SELECT fingerprint, min(pattern) AS pattern, count(*) AS letters,
                    count(*) FILTER (WHERE {done}) AS already_done,
                    count(*) FILTER (WHERE NOT is_ours OR reason IN ('malformed', 'not ours')) AS hopeless
             FROM dead_letters d WHERE {condition} AND state = $8
             GROUP BY fingerprint ORDER BY letters DESC, fingerprint",
            done = super::is_done("d"),
            condition = filter.condition()
        ),
        filter,
    )
    .bind::<Text, _>(LetterState::Open.as_str());
    Ok(statement.load(connection).await?)
}
