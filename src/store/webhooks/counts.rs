//! How many endpoints there are.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::AsyncPgConnection;

use super::{Number, fan_out};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// How many endpoints a user has, or nobody. The user's row is locked until the end of the
/// transaction, so that two requests can't both be the last that is allowed.
///
/// # Errors
/// The database fails, or the user is [`Missing`](StoreError::Missing).
pub async fn count_of(
    connection: &mut AsyncPgConnection,
    user_id: Option<i64>,
) -> Result<i64, StoreError> {
    match user_id {
        Some(user_id) => {
            let statement =
                Statement::new("SELECT id AS number FROM users WHERE id = $1 FOR NO KEY UPDATE")
                    .bind::<BigInt, _>(user_id);
            let found: Option<Number> = statement.get_result(connection).await.optional()?;
            found.ok_or_else(|| StoreError::Missing("user".into()))?;
        }
        None => fan_out::lock(connection).await?,
    }
    let sql = "SELECT count(*) AS number FROM webhooks WHERE user_id IS NOT DISTINCT FROM $1";
    let statement = Statement::new(sql).bind::<Nullable<BigInt>, _>(user_id);
    let row: Number = statement.get_result(connection).await?;
    Ok(row.number)
}

/// How many endpoints a user has, or there are.
///
/// # Errors
/// The database fails.
pub async fn count(
    connection: &mut AsyncPgConnection,
    user_id: Option<i64>,
) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) AS number FROM webhooks WHERE ($1 IS NULL OR user_id = $1)";
    let statement = Statement::new(sql).bind::<Nullable<BigInt>, _>(user_id);
    let row: Number = statement.get_result(connection).await?;
    Ok(row.number)
}
