//! Dead letters by cause.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// The open letters of one cause.
#[derive(Debug, Clone, QueryableByName)]
pub struct GroupRow {
    /// What they have in common.
    #[diesel(sql_type = Text)]
    pub fingerprint: String,
    /// The effect that failed, as `NAME` or `NAME/TARGET`.
    #[diesel(sql_type = Nullable<Text>)]
    pub effect: Option<String>,
    /// The event type.
    #[diesel(sql_type = Nullable<Text>)]
    pub event_type: Option<String>,
    /// Why they are dead letters.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// The error, without what differs between them.
    #[diesel(sql_type = Text)]
    pub pattern: String,
    /// How many there are.
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    /// When the first of them died.
    #[diesel(sql_type = Timestamptz)]
    pub first_at: DateTime<Utc>,
    /// When the last of them died.
    #[diesel(sql_type = Timestamptz)]
    pub last_at: DateTime<Utc>,
    /// Whether one has died in the last five minutes.
    #[diesel(sql_type = Bool)]
    pub growing: bool,
    /// The id of one of them.
    #[diesel(sql_type = Text)]
    pub sample: String,
}

/// The causes of open letters, the most frequent first: this one alone, or so many at most.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    group: Option<&str>,
    limit: Option<i64>,
) -> Result<Vec<GroupRow>, StoreError> {
    let one = "($2 IS NULL OR fingerprint = $2)";
    let statement = Statement::new(select(one, "open DESC, g.fingerprint", "$1"))
        .bind::<Nullable<BigInt>, _>(limit)
        .bind::<Nullable<Text>, _>(group.map(str::to_owned));
    Ok(statement.load(connection).await?)
}

/// So many causes at most, those that still grow first, and then the most frequent.
///
/// # Errors
/// The database fails.
pub async fn worst(
    connection: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<GroupRow>, StoreError> {
    let order = "last_at > now() - interval '5 min' DESC, open DESC, g.fingerprint";
    Ok(Statement::new(select("true", order, "$1"))
        .bind::<BigInt, _>(limit)
        .load(connection)
        .await?)
}

/// Selects so many causes of those that pass, in this order.
fn select(passes: &str, order: &str, limit: &str) -> String {
    // The sample is the newest that is still open; it is looked for after the limit.
    format!(
        "SELECT g.fingerprint, effect, event_type, reason, pattern, open, first_at, last_at,
                last_at > now() - interval '5 min' AS growing, coalesce(newest.id, g.sample) AS sample
         FROM (SELECT * FROM dead_letter_groups g WHERE open > 0 AND {passes}
               ORDER BY {order} LIMIT {limit}) AS g
         LEFT JOIN LATERAL (
             SELECT id FROM dead_letters d WHERE d.fingerprint = g.fingerprint AND d.state = 'open'
             ORDER BY died_at DESC, id DESC LIMIT 1) AS newest ON true
         ORDER BY {order}"
    )
}
