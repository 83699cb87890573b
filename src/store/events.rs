//! Events for operators: which there are, and what became of each.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::event::{EventType, Origin};
use crate::store::StoreError;
use crate::store::delivery::new_events;
use crate::store::sql::{RunQueryDsl, Statement};

/// Which events are wanted; a field that is `None` filters nothing.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only events of this task.
    pub task_id: Option<i64>,
    /// Only events of this type.
    pub event_type: Option<EventType>,
    /// Only events that the broker has confirmed, or only those that it hasn't.
    pub published: Option<bool>,
}

/// An event without its payload.
#[derive(Debug, QueryableByName)]
pub struct EventSummary {
    /// Its id, which begins with the time it was made.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The event type's name.
    #[diesel(sql_type = Text, column_name = "type")]
    pub event_type: String,
    /// The kind of its subject.
    #[diesel(sql_type = Text)]
    pub subject_kind: String,
    /// The subject's id.
    #[diesel(sql_type = BigInt)]
    pub subject_id: i64,
    /// The subject's version after the change.
    #[diesel(sql_type = BigInt)]
    pub subject_version: i64,
    #[diesel(sql_type = Nullable<Text>)]
    actor_kind: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    actor_id: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    causation_id: Option<Uuid>,
    /// When the change was made.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    /// When it was marked as confirmed by the broker.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub published_at: Option<DateTime<Utc>>,
}

impl EventSummary {
    /// Who made the change and why; `None` if a version of taskd wrote it that did not record it.
    pub fn origin(&self) -> Option<Origin> {
        new_events::origin(self.actor_kind.as_deref(), self.actor_id, self.causation_id)
    }
}

/// The columns of an [`EventSummary`].
const COLUMNS: &str = "id, type, subject_kind, task_id AS subject_id, task_version AS subject_version, \
     actor_kind, actor_id, causation_id, occurred_at, published_at";

/// Planned for its values: a condition whose parameter is null disappears, so each filter finds its
/// index.
const FILTERS: &str =
    "($1 IS NULL OR task_id = $1 AND subject_kind = 'task') AND ($2 IS NULL OR type = $2)
     AND ($3 IS NULL OR (published_at IS NOT NULL) = $3)";

/// The events before `before`, newest first.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    query: &EventQuery,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<EventSummary>, StoreError> {
    let statement = filtered(
        format!(
            "SELECT {COLUMNS} FROM events
             WHERE {FILTERS} AND id < $4 ORDER BY id DESC LIMIT $5"
        ),
        query,
    )
    .bind::<SqlUuid, _>(before.unwrap_or(Uuid::max()))
    .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// How many events pass the filters.
///
/// # Errors
/// The database fails.
pub async fn count(
    connection: &mut AsyncPgConnection,
    query: &EventQuery,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Total {
        #[diesel(sql_type = BigInt)]
        total: i64,
    }
    let sql = format!("SELECT count(*) AS total FROM events WHERE {FILTERS}");
    let total: Total = filtered(sql, query).get_result(connection).await?;
    Ok(total.total)
}

fn filtered(sql: String, query: &EventQuery) -> Statement {
    Statement::new(sql)
        .planned_for_its_values()
        .bind::<Nullable<BigInt>, _>(query.task_id)
        .bind::<Nullable<Text>, _>(query.event_type.map(|event_type| event_type.name))
        .bind::<Nullable<Bool>, _>(query.published)
}

/// An event with its payload.
#[derive(Debug, QueryableByName)]
pub struct EventDetail {
    /// The event without its payload.
    #[diesel(embed)]
    pub listed: EventSummary,
    /// The subject as it was then, and what changed.
    #[diesel(sql_type = Jsonb)]
    pub payload: Value,
}

/// Finds one event.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<EventDetail>, StoreError> {
    let statement = Statement::new(format!("SELECT {COLUMNS}, payload FROM events WHERE id = $1"))
        .bind::<SqlUuid, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}

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
    /// The worker that has claimed it.
    #[diesel(sql_type = Nullable<Text>)]
    pub claimed_by: Option<String>,
    /// When the lease of the claim ends.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub claimed_until: Option<DateTime<Utc>>,
    /// When this changed last.
    #[diesel(sql_type = Timestamptz)]
    pub touched_at: DateTime<Utc>,
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
