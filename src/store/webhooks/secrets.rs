//! The sealed secrets of endpoints.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Nullable};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// The secrets of an endpoint, sealed.
#[derive(Debug, Clone, QueryableByName)]
pub struct SealedRow {
    /// The endpoint.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Its secret.
    #[diesel(sql_type = Bytea)]
    pub secret: Vec<u8>,
    /// The one before, while it counts.
    #[diesel(sql_type = Nullable<Bytea>)]
    pub old_secret: Option<Vec<u8>>,
}

/// The secrets of the endpoints after this one, by id, at most `limit`, locked until the end of the
/// transaction.
///
/// # Errors
/// The database fails.
pub async fn after(
    connection: &mut AsyncPgConnection,
    id: i64,
    limit: i64,
) -> Result<Vec<SealedRow>, StoreError> {
    let statement = Statement::new(
        "SELECT id, secret, CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret
         FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE",
    )
    .bind::<BigInt, _>(id)
    .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// Writes the same secrets, sealed anew.
///
/// # Errors
/// The database fails.
pub async fn replace(
    connection: &mut AsyncPgConnection,
    row: &SealedRow,
) -> Result<(), StoreError> {
    let statement =
        Statement::new("UPDATE webhooks SET secret = $2, old_secret = $3 WHERE id = $1")
            .bind::<BigInt, _>(row.id)
            .bind::<Bytea, _>(row.secret.clone())
            .bind::<Nullable<Bytea>, _>(row.old_secret.clone());
    statement.execute(connection).await?;
    Ok(())
}

/// Gives an endpoint another secret; the one it has counts for so long beside it. Returns whether
/// there is such an endpoint.
///
/// # Errors
/// The database fails.
pub async fn rotate(
    connection: &mut AsyncPgConnection,
    id: i64,
    secret: Vec<u8>,
    both: Duration,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "UPDATE webhooks SET old_secret = secret, old_secret_until = now() + $3 * interval '1 ms',
             secret = $2, updated_at = now()
         WHERE id = $1",
    )
    .bind::<BigInt, _>(id)
    .bind::<Bytea, _>(secret)
    .bind::<BigInt, _>(both.as_millis() as i64);
    Ok(statement.execute(connection).await? > 0)
}
