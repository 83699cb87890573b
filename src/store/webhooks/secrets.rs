//! The sealed secrets of endpoints.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea};
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
    /// Those before, while they count.
    #[diesel(sql_type = Array<Bytea>)]
    pub old_secrets: Vec<Vec<u8>>,
}

const SEALED: &str = "SELECT id, secret,
     CASE WHEN old_secret_until > now() THEN old_secrets ELSE '{}' END AS old_secrets FROM webhooks";

/// The secrets of an endpoint.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<SealedRow>, StoreError> {
    let statement = Statement::new(format!("{SEALED} WHERE id = $1")).bind::<BigInt, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
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
    let statement =
        Statement::new(format!("{SEALED} WHERE id > $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE"))
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
        Statement::new("UPDATE webhooks SET secret = $2, old_secrets = $3 WHERE id = $1")
            .bind::<BigInt, _>(row.id)
            .bind::<Bytea, _>(row.secret.clone())
            .bind::<Array<Bytea>, _>(row.old_secrets.clone());
    statement.execute(connection).await?;
    Ok(())
}

/// How many secrets before the present one count at most.
const OLD: usize = 4;

/// Gives an endpoint another secret; the one it has, and those that still count, count for so long
/// beside it. Returns whether there is such an endpoint.
///
/// # Errors
/// The database fails.
pub async fn rotate(
    connection: &mut AsyncPgConnection,
    id: i64,
    secret: Vec<u8>,
    both: Duration,
) -> Result<bool, StoreError> {
    let statement = Statement::new(format!(
        "UPDATE webhooks SET
             old_secrets = (secret || CASE WHEN old_secret_until > now() THEN old_secrets ELSE '{{}}' END)[1:{OLD}],
             old_secret_until = now() + $3 * interval '1 ms', secret = $2, updated_at = now()
         WHERE id = $1"
    ))
    .bind::<BigInt, _>(id)
    .bind::<Bytea, _>(secret)
    .bind::<BigInt, _>(both.as_millis() as i64);
    Ok(statement.execute(connection).await? > 0)
}
