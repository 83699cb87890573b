//! What operators did, and who tried to sign in.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use serde_json::Value;

use crate::domain::text::without_nul;
use crate::store::StoreError;
use crate::store::delivery::retention::delete;
use crate::store::sql::{RunQueryDsl, Statement};

/// Something that an operator did, or tried to do.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// Who: a user, a token, or a user of the machine on which a command ran.
    pub actor: String,
    /// What.
    pub action: &'static str,
    /// To what.
    pub target: Option<String>,
    /// More about it. It holds no secret.
    pub details: Value,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// From where: an address or a machine.
    pub origin: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
}

/// Writes it down.
///
/// # Errors
/// The database fails.
pub async fn write(connection: &mut AsyncPgConnection, new: &NewAudit) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO audit (actor, action, target, details, dry_run, origin, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<Text, _>(without_nul(&new.actor))
    .bind::<Text, _>(new.action)
    .bind::<Nullable<Text>, _>(new.target.as_deref().map(without_nul))
    .bind::<Jsonb, _>(new.details.clone())
    .bind::<Bool, _>(new.dry_run)
    .bind::<Nullable<Text>, _>(new.origin.as_deref().map(without_nul))
    .bind::<Nullable<Text>, _>(new.request_id.clone());
    statement.execute(connection).await?;
    Ok(())
}

/// How many failed sign-ins are written down in a minute: whoever guesses must not fill the disk.
const MOST_FAILED_SIGN_INS: i64 = 20;

/// Writes down a failed sign-in, unless there were many in the last minute. Returns whether it was
/// written.
///
/// # Errors
/// The database fails.
pub async fn write_failed_sign_in(
    connection: &mut AsyncPgConnection,
    new: &NewAudit,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "INSERT INTO audit (actor, action, details, dry_run, origin, request_id)
         SELECT $1, $2, '{}', false, $3, $4
         WHERE (SELECT count(*) FROM audit WHERE at > now() - interval '1 min' AND action = $2) < $5",
    )
    .bind::<Text, _>(without_nul(&new.actor))
    .bind::<Text, _>(new.action)
    .bind::<Nullable<Text>, _>(new.origin.as_deref().map(without_nul))
    .bind::<Nullable<Text>, _>(new.request_id.clone())
    .bind::<BigInt, _>(MOST_FAILED_SIGN_INS);
    Ok(statement.execute(connection).await? > 0)
}

/// An entry of the audit log.
#[derive(Debug, Clone, QueryableByName)]
pub struct AuditRow {
    /// Ascends.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Who.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// What.
    #[diesel(sql_type = Text)]
    pub action: String,
    /// To what.
    #[diesel(sql_type = Nullable<Text>)]
    pub target: Option<String>,
    /// More about it.
    #[diesel(sql_type = Jsonb)]
    pub details: Value,
    /// Whether nothing was to be changed.
    #[diesel(sql_type = Bool)]
    pub dry_run: bool,
    /// From where.
    #[diesel(sql_type = Nullable<Text>)]
    pub origin: Option<String>,
    /// In which request.
    #[diesel(sql_type = Nullable<Text>)]
    pub request_id: Option<String>,
}

/// Which entries are wanted; a field that is `None` filters nothing.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only this action.
    pub action: Option<String>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only since then.
    pub since: Option<DateTime<Utc>>,
}

/// The entries before `before`, newest first.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<AuditRow>, StoreError> {
    let statement = Statement::new(
        "SELECT id, at, actor, action, target, details, dry_run, origin, request_id FROM audit
         WHERE ($1 IS NULL OR action = $1) AND ($2 IS NULL OR actor = $2) AND ($3 IS NULL OR at >= $3)
             AND id < $4 ORDER BY id DESC LIMIT $5",
    )
    .planned_for_its_values()
    .bind::<Nullable<Text>, _>(filter.action.clone())
    .bind::<Nullable<Text>, _>(filter.actor.clone())
    .bind::<Nullable<Timestamptz>, _>(filter.since)
    .bind::<BigInt, _>(before.unwrap_or(i64::MAX))
    .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// Deletes entries from before `horizon`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn forget(
    connection: &mut AsyncPgConnection,
    horizon: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let sql =
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
    delete(connection, sql, horizon, limit).await
}
