//! How an endpoint is: since when it fails, and what follows from that.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// An endpoint whose owner is to be told something.
#[derive(Debug, Clone, QueryableByName)]
pub struct Troubled {
    /// Counts the events that are about it, with the one to be written.
    #[diesel(sql_type = BigInt)]
    pub version: i64,
    /// Whose it is.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub user_id: Option<i64>,
    /// Where its deliveries are sent.
    #[diesel(sql_type = Text)]
    pub url: String,
    /// What it is for.
    #[diesel(sql_type = Nullable<Text>)]
    pub description: Option<String>,
    /// Since when no delivery has succeeded.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub failing_since: Option<DateTime<Utc>>,
}

const TROUBLED: &str = "version, user_id, url, description, failing_since";

/// Marks that the owner of an endpoint is told, unless it was told before, or the endpoint has not
/// failed for so long.
///
/// # Errors
/// The database fails.
pub async fn warn(
    connection: &mut AsyncPgConnection,
    id: i64,
    after: Duration,
) -> Result<Option<Troubled>, StoreError> {
    let statement = Statement::new(format!(
        "UPDATE webhooks SET warned_at = now(), version = version + 1
         WHERE id = $1 AND enabled AND warned_at IS NULL AND failing_since <= now() - $2 * interval '1 ms'
         RETURNING {TROUBLED}"
    ))
    .bind::<BigInt, _>(id)
    .bind::<BigInt, _>(after.as_millis() as i64);
    Ok(statement.get_result(connection).await.optional()?)
}

/// Disables an endpoint that is enabled and has this URL, and gives up its open deliveries. With
/// `after`, only if it has failed for so long.
///
/// # Errors
/// The database fails; then the transaction has failed too.
pub async fn disable(
    connection: &mut AsyncPgConnection,
    (id, url): (i64, &str),
    reason: &'static str,
    after: Option<Duration>,
) -> Result<Option<Troubled>, StoreError> {
    let statement = Statement::new(format!(
        "UPDATE webhooks SET enabled = false, disabled_reason = $2, version = version + 1
         WHERE id = $1 AND url = $4 AND enabled AND ($3 IS NULL OR failing_since <= now() - $3 * interval '1 ms')
         RETURNING {TROUBLED}"
    ))
    .bind::<BigInt, _>(id)
    .bind::<Text, _>(reason.to_owned())
    .bind::<Nullable<BigInt>, _>(after.map(|after| after.as_millis() as i64))
    .bind::<Text, _>(url.to_owned());
    let troubled: Option<Troubled> = statement.get_result(connection).await.optional()?;
    if troubled.is_some() {
        let sql = "UPDATE webhook_deliveries SET state = 'failed', settled_at = now()
                   WHERE webhook_id = $1 AND state IN ('pending', 'waiting')";
        Statement::new(sql).bind::<BigInt, _>(id).execute(connection).await?;
    }
    Ok(troubled)
}
