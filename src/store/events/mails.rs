//! What became of the mails about events.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::state;
use crate::domain::processing::effect::EffectKey;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

/// The mail about an event.
#[derive(Debug, QueryableByName)]
pub struct MailRow {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// The state of the effect's record, if it has one.
    #[diesel(sql_type = Nullable<Text>)]
    pub record: Option<String>,
    /// What the record says: to whom it was sent, or why not.
    #[diesel(sql_type = Nullable<Text>)]
    pub note: Option<String>,
    /// When the record was written.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub recorded_at: Option<DateTime<Utc>>,
    /// The name of the event's state.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Since when the event is in that state, or was published.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
    /// What the effect failed for, or waits for.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// The present address of the user whose the task was then.
    #[diesel(sql_type = Nullable<Text>)]
    pub address: Option<String>,
}

/// The mails about these events: of those whose task belonged to a user, which `effect` sends them
/// to. Events that have been deleted have none.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    effect: &EffectKey,
    events: &[Uuid],
) -> Result<Vec<MailRow>, StoreError> {
    let statement = Statement::new(format!(
        "SELECT e.id AS event_id, p.state AS record, p.note, p.touched_at AS recorded_at,
                {state} AS state, coalesce(u.since, e.published_at, e.occurred_at) AS since,
                CASE WHEN u.effect = $2 THEN u.reason END AS reason, users.email AS address
         FROM unnest({ids}) AS wanted (id) JOIN events e ON e.id = wanted.id
         LEFT JOIN processed_messages p ON p.event_id = e.id AND p.effect = $2
         LEFT JOIN unfinished_events u ON u.event_id = e.id
         LEFT JOIN users ON users.id = (e.payload ->> 'userId')::bigint
         WHERE e.payload ->> 'userId' IS NOT NULL OR p.state IS NOT NULL",
        state = state(),
        ids = unseen([1]),
    ))
    .bind::<Array<SqlUuid>, _>(events.to_vec())
    .bind::<Text, _>(effect.to_string());
    Ok(statement.load(connection).await?)
}
