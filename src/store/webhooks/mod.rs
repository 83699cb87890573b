//! Webhooks, and what is delivered to them.
//!
//! A table of deliveries grows from nothing to a million rows within minutes. A plan that was made
//! for the empty table reads all of them, so what is done often is planned each time it is done.

pub mod counts;
pub mod deliveries;
pub mod fan_out;
pub mod health;
pub mod history;
pub mod secrets;
pub mod settling;
pub mod taking;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use serde_json::Value;

use crate::domain::rate::Rate;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// An endpoint, without its secrets.
#[derive(Debug, Clone, QueryableByName)]
pub struct WebhookRow {
    /// Its id.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Whose it is; `None` for nobody's, which sees every task.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub user_id: Option<i64>,
    /// Where deliveries are sent.
    #[diesel(sql_type = Text)]
    pub url: String,
    /// What it is for.
    #[diesel(sql_type = Nullable<Text>)]
    pub description: Option<String>,
    /// The types of events it is told; `None` for all.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub event_types: Option<Vec<String>>,
    /// Members that a payload must have.
    #[diesel(sql_type = Jsonb)]
    pub filter: Value,
    /// Whether the versions of a task come one by one.
    #[diesel(sql_type = Bool)]
    pub ordered: bool,
    /// See [`WebhookRow::rate`].
    #[diesel(sql_type = Nullable<Integer>)]
    rate_count: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    rate_period_ms: Option<i64>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    retry_delays: Option<Vec<i64>>,
    /// Whether it is told anything.
    #[diesel(sql_type = Bool)]
    pub enabled: bool,
    /// Why not: the name of a [`DisabledReason`](crate::domain::webhook::DisabledReason).
    #[diesel(sql_type = Nullable<Text>)]
    pub disabled_reason: Option<String>,
    /// Since when no delivery has succeeded.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub failing_since: Option<DateTime<Utc>>,
    /// Until when deliveries are signed with the secret before, too.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub old_secret_until: Option<DateTime<Utc>>,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was last changed by somebody.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// The columns of a [`WebhookRow`].
const COLUMNS: &str = "id, user_id, url, description, event_types, filter, ordered, rate_count, rate_period_ms, \
     retry_delays, enabled, disabled_reason, failing_since, \
     CASE WHEN old_secret_until > now() THEN old_secret_until END AS old_secret_until, created_at, updated_at";

impl WebhookRow {
    /// How many deliveries it gets at most.
    pub fn rate(&self) -> Option<Rate> {
        rate(self.rate_count, self.rate_period_ms)
    }

    /// The delays before its retries, if they are not the usual ones.
    pub fn retry_delays(&self) -> Option<Vec<Duration>> {
        self.retry_delays.as_deref().map(delays)
    }

    /// What of it can be changed.
    pub fn settings(&self) -> Settings {
        Settings {
            url: self.url.clone(),
            description: self.description.clone(),
            event_types: self.event_types.clone(),
            filter: self.filter.clone(),
            ordered: self.ordered,
            rate: self.rate(),
            retry_delays: self.retry_delays(),
            enabled: self.enabled,
        }
    }
}

fn rate(count: Option<i32>, period_ms: Option<i64>) -> Option<Rate> {
    let period = Duration::from_millis(u64::try_from(period_ms?).ok()?);
    Some(Rate::of(u32::try_from(count?).ok()?, period))
}

/// Delays from their milliseconds.
fn delays(milliseconds: &[i64]) -> Vec<Duration> {
    let delay = |ms: &i64| Duration::from_millis(u64::try_from(*ms).unwrap_or_default());
    milliseconds.iter().map(delay).collect()
}

/// What of an endpoint can be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where deliveries are sent.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// The types of events it is told; `None` for all.
    pub event_types: Option<Vec<String>>,
    /// Members that a payload must have.
    pub filter: Value,
    /// Whether the versions of a task come one by one.
    pub ordered: bool,
    /// How many deliveries it gets at most.
    pub rate: Option<Rate>,
    /// The delays before its retries; `None` for the usual ones.
    pub retry_delays: Option<Vec<Duration>>,
    /// Whether it is told anything.
    pub enabled: bool,
}

/// Binds the settings, in the order of [`SETTINGS`].
fn bind(statement: Statement, settings: &Settings) -> Statement {
    let period = settings.rate.map(|rate| rate.period().as_millis() as i64);
    let count = settings.rate.map(|rate| i32::try_from(rate.count()).unwrap_or(i32::MAX));
    let milliseconds = |delays: &Vec<Duration>| -> Vec<i64> {
        delays.iter().map(|delay| delay.as_millis() as i64).collect()
    };
    statement
        .bind::<Text, _>(settings.url.clone())
        .bind::<Nullable<Text>, _>(settings.description.clone())
        .bind::<Nullable<Array<Text>>, _>(settings.event_types.clone())
        .bind::<Jsonb, _>(settings.filter.clone())
        .bind::<Bool, _>(settings.ordered)
        .bind::<Nullable<Integer>, _>(count)
        .bind::<Nullable<BigInt>, _>(period)
        .bind::<Nullable<Array<BigInt>>, _>(settings.retry_delays.as_ref().map(milliseconds))
        .bind::<Bool, _>(settings.enabled)
}

/// The columns of [`bind`], but for `enabled`, which comes last.
const SETTINGS: &str =
    "url, description, event_types, filter, ordered, rate_count, rate_period_ms, retry_delays";

/// The highest number of an event: an endpoint is told what comes after it.
const NEWEST: &str = "coalesce((SELECT seq FROM events ORDER BY seq DESC LIMIT 1), 0)";

/// One number.
#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The id of an endpoint that is to be made: its secret is sealed for it.
///
/// # Errors
/// The database fails.
pub async fn next_id(connection: &mut AsyncPgConnection) -> Result<i64, StoreError> {
    let sql = "SELECT nextval(pg_get_serial_sequence('webhooks', 'id')) AS number";
    let row: Number = Statement::new(sql).get_result(connection).await?;
    Ok(row.number)
}

/// Makes an endpoint, which is told what happens from now on.
///
/// # Errors
/// The database fails.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    (id, user_id): (i64, Option<i64>),
    settings: &Settings,
    secret: Vec<u8>,
) -> Result<WebhookRow, StoreError> {
    let statement = Statement::new(format!(
        "INSERT INTO webhooks ({SETTINGS}, enabled, disabled_reason, id, user_id, secret, since_seq)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN NOT $9 THEN 'by-request' END, $10, $11, $12, {NEWEST}
         RETURNING {COLUMNS}"
    ));
    let statement = bind(statement, settings)
        .bind::<BigInt, _>(id)
        .bind::<Nullable<BigInt>, _>(user_id)
        .bind::<Bytea, _>(secret);
    Ok(statement.get_result(connection).await?)
}

/// Changes an endpoint. If it is enabled again, it is told what happens from now on. Its failures
/// are forgotten then, as they are with another URL. If it is disabled, that was by request.
///
/// # Errors
/// The database fails.
pub async fn update(
    connection: &mut AsyncPgConnection,
    id: i64,
    settings: &Settings,
) -> Result<Option<WebhookRow>, StoreError> {
    let statement = Statement::new(format!(
        "UPDATE webhooks SET ({SETTINGS}) = ($1, $2, $3, $4, $5, $6, $7, $8),
             enabled = $9,
             disabled_reason = CASE WHEN NOT $9 THEN coalesce(disabled_reason, 'by-request') END,
             since_seq = CASE WHEN $9 AND NOT enabled THEN {NEWEST} ELSE since_seq END,
             failing_since = CASE WHEN $9 AND NOT enabled OR url <> $1 THEN NULL ELSE failing_since END,
             warned_at = CASE WHEN $9 AND NOT enabled OR url <> $1 THEN NULL ELSE warned_at END,
             updated_at = now()
         WHERE id = $10 RETURNING {COLUMNS}"
    ));
    let statement = bind(statement, settings).bind::<BigInt, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}

/// An endpoint, locked until the end of the transaction if it is about to be changed.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: i64,
    to_change: bool,
) -> Result<Option<WebhookRow>, StoreError> {
    let lock = if to_change { "FOR NO KEY UPDATE" } else { "" };
    let statement = Statement::new(format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1 {lock}"))
        .bind::<BigInt, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}

/// The endpoints of a user, or all, by id, after one of them, at most `limit`.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    user_id: Option<i64>,
    after: i64,
    limit: i64,
) -> Result<Vec<WebhookRow>, StoreError> {
    let statement = Statement::new(format!(
        "SELECT {COLUMNS} FROM webhooks WHERE id > $2 AND ($1 IS NULL OR user_id = $1)
         ORDER BY id LIMIT $3"
    ))
    .bind::<Nullable<BigInt>, _>(user_id)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// Deletes an endpoint. Its deliveries follow ([`delete_left`]). Returns whether there was one.
///
/// # Errors
/// The database fails.
pub async fn delete(connection: &mut AsyncPgConnection, id: i64) -> Result<bool, StoreError> {
    let statement = Statement::new("DELETE FROM webhooks WHERE id = $1").bind::<BigInt, _>(id);
    Ok(statement.execute(connection).await? > 0)
}

/// Deletes deliveries to endpoints that are gone, at most `limit`. Returns whether there may be
/// more.
///
/// # Errors
/// The database fails.
pub async fn delete_left(
    connection: &mut AsyncPgConnection,
    limit: i64,
) -> Result<bool, StoreError> {
    let sql = "SELECT coalesce(min(id), 0) AS number FROM deleted_webhooks";
    let Number { number: id } = Statement::new(sql).get_result(connection).await?;
    if id == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM webhook_deliveries WHERE webhook_id = $1 AND id IN (
             SELECT id FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY id LIMIT $2)";
    let statement = Statement::new(sql).bind::<BigInt, _>(id).bind::<BigInt, _>(limit);
    let deleted = statement.execute(connection).await?;
    if deleted == 0 {
        let sql = "DELETE FROM deleted_webhooks WHERE id = $1";
        Statement::new(sql).bind::<BigInt, _>(id).execute(connection).await?;
    }
    Ok(true)
}
