//! What became of the effects of an event.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// The state of an effect that has begun.
#[derive(Debug, QueryableByName)]
pub struct EffectState {
    /// The effect's name.
    #[diesel(sql_type = Text)]
    pub effect: String,
    /// `open`, `claimed`, `done` or `skipped`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Why it was skipped.
    #[diesel(sql_type = Nullable<Text>)]
    pub note: Option<String>,
    /// The owner of the claim, also when it is done.
    #[diesel(sql_type = Nullable<Text>)]
    claimed_by: Option<String>,
    /// When the lease of the claim ends.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub claimed_until: Option<DateTime<Utc>>,
    /// When this changed last.
    #[diesel(sql_type = Timestamptz)]
    pub touched_at: DateTime<Utc>,
}

impl EffectState {
    /// The worker that has claimed it, or has done it. The name in front of the owner's own part
    /// (`idempotency::Idempotency`).
    pub fn worker(&self) -> Option<&str> {
        let owner = self.claimed_by.as_deref()?;
        Some(owner.rsplit_once('/').map_or(owner, |(worker, _)| worker))
    }

    /// Whether it is done, or there was nothing to do.
    pub fn is_done(&self) -> bool {
        matches!(self.state.as_str(), "done" | "skipped")
    }
}

/// The states of one event's effects, by name.
///
/// # Errors
/// The database fails.
pub async fn effects(
    connection: &mut AsyncPgConnection,
    event_id: Uuid,
) -> Result<Vec<EffectState>, StoreError> {
    let statement = Statement::new(
        "SELECT effect, state, note, claimed_by, claimed_until, touched_at FROM processed_messages
         WHERE event_id = $1 ORDER BY effect",
    )
    .bind::<SqlUuid, _>(event_id);
    Ok(statement.load(connection).await?)
}
