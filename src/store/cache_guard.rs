//! The row that keeps the cache consistent while it can't be reached; see `read_cache`.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::installation::IDENTITY;
use crate::store::sql::{RunQueryDsl, Statement};

/// What the row says.
#[derive(Debug, Clone, QueryableByName)]
pub struct Guard {
    /// Tells the database from every other. It is part of every cache key as well.
    #[diesel(sql_type = Text)]
    pub identity: String,
    /// Part of every cache key: entries of another epoch are not found.
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
    /// For how many more milliseconds nobody may use the cache.
    #[diesel(sql_type = BigInt)]
    pub suspended_ms: i64,
}

const STATE: &str = "epoch, CASE WHEN suspended_until > now()
     THEN ceil(extract(epoch FROM suspended_until - now()) * 1000)::bigint ELSE 0 END AS suspended_ms";

/// Reads the row.
///
/// # Errors
/// The database fails.
pub async fn read(connection: &mut AsyncPgConnection) -> Result<Guard, StoreError> {
    Ok(Statement::new(format!("SELECT {STATE}, {IDENTITY} AS identity FROM cache_guard"))
        .get_result(connection)
        .await?)
}

/// Begins a new epoch, and keeps everybody from using the cache for at least `duration`.
///
/// # Errors
/// The database fails.
pub async fn suspend(
    connection: &mut AsyncPgConnection,
    duration: Duration,
) -> Result<Guard, StoreError> {
    let statement = Statement::new(format!(
        "UPDATE cache_guard SET epoch = epoch + 1,
             suspended_until = greatest(suspended_until, now() + $1 * interval '1 ms')
         RETURNING {STATE}, {IDENTITY} AS identity"
    ))
    .bind::<BigInt, _>(duration.as_millis() as i64);
    Ok(statement.get_result(connection).await?)
}
