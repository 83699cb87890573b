//! The activity log: what happened to each task.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::AsyncPgConnection;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::processing::effect::EffectKey;
use crate::store::StoreError;
use crate::store::delivery::processed::EventRecord;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

#[derive(QueryableByName)]
struct EventId {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

/// Logs these events, each only once ever. One statement writes both the entry and the record that
/// `effect` is done, where the rule [`crate::domain::processing::claim::decide`] allows it. Returns
/// the events that were logged now. `events` must have no duplicates.
///
/// # Errors
/// The database fails; then none is logged.
pub async fn record_once(
    connection: &mut AsyncPgConnection,
    effect: &EffectKey,
    events: &[(&Event, EventRecord)],
) -> Result<Vec<Uuid>, StoreError> {
    let each = events.iter().map(|(event, _)| *event);
    let records = events.iter().map(|(_, record)| *record);
    let changes = |e: &Event| e.payload.get("changes").cloned();
    let statement = Statement::new(format!(
        "WITH input AS (
             SELECT * FROM unnest({arrays})
                 AS t (event_id, task_id, task_version, type, changes, occurred_at, effects, recorded, subject_kind)),
         fresh AS (
             INSERT INTO processed_messages AS p (event_id, effect, state, effects)
             SELECT event_id, $7, 'done', effects FROM input
             WHERE NOT recorded OR (SELECT o.state = 'open' FROM processed_messages o
                                    WHERE o.event_id = input.event_id AND o.effect = $7)
             ORDER BY event_id
             ON CONFLICT (event_id, effect) DO UPDATE SET state = 'done', touched_at = now()
                 WHERE p.state = 'open'
             RETURNING event_id)
         INSERT INTO task_activity (event_id, subject_kind, task_id, task_version, type, changes, occurred_at)
         SELECT event_id, subject_kind, task_id, task_version, type, changes, occurred_at
         FROM input JOIN fresh USING (event_id)
         RETURNING event_id",
        arrays = unseen([1, 2, 3, 4, 5, 6, 8, 9, 10])
    ))
    .bind::<Array<SqlUuid>, _>(each.clone().map(|e| e.metadata.event_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(each.clone().map(|e| e.subject.id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(each.clone().map(|e| e.subject.version).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(each.clone().map(|e| e.event_type.name).collect::<Vec<_>>())
    .bind::<Array<Nullable<Jsonb>>, _>(each.clone().map(changes).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(each.clone().map(|e| e.metadata.timestamp).collect::<Vec<_>>())
    .bind::<Text, _>(effect.to_string())
    .bind::<Array<SmallInt>, _>(records.clone().map(|s| s.effects).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(records.map(|s| s.recorded).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(each.map(|e| e.subject.kind).collect::<Vec<_>>());
    let fresh: Vec<EventId> = statement.load(connection).await?;
    Ok(fresh.into_iter().map(|row| row.event_id).collect())
}

/// An entry of the log.
#[derive(Debug, Clone, QueryableByName)]
pub struct Entry {
    /// Ascending as entries are written.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// The event's id.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// The task's version after the change.
    #[diesel(sql_type = BigInt)]
    pub task_version: i64,
    /// The event type's name.
    #[diesel(sql_type = Text, column_name = "type")]
    pub event_type: String,
    /// What changed.
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub changes: Option<Value>,
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    /// When a worker logged it.
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
}

/// The user that a task belongs to, and since which version; `None` if there is no such task.
///
/// # Errors
/// The database fails.
pub async fn owned_since(
    connection: &mut AsyncPgConnection,
    task_id: i64,
) -> Result<Option<(Option<i64>, i64)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        user_id: Option<i64>,
        #[diesel(sql_type = BigInt)]
        owned_since: i64,
    }
    let statement = Statement::new("SELECT user_id, owned_since FROM tasks WHERE id = $1")
        .bind::<BigInt, _>(task_id);
    let row: Option<Row> = statement.get_result(connection).await.optional()?;
    Ok(row.map(|row| (row.user_id, row.owned_since)))
}

/// A task's entries from version `since` on, newest first; only those before `before` (a version
/// and an entry id).
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    task_id: i64,
    since: i64,
    before: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let (version, id) = before.unwrap_or((i64::MAX, i64::MAX));
    let statement = Statement::new(
        "SELECT id, event_id, task_version, type, changes, occurred_at, recorded_at FROM task_activity
         WHERE task_id = $1 AND subject_kind = 'task' AND (task_version, id) < ($2, $3) AND task_version >= $5
         ORDER BY task_version DESC, id DESC LIMIT $4",
    )
    .bind::<BigInt, _>(task_id)
    .bind::<BigInt, _>(version)
    .bind::<BigInt, _>(id)
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(since);
    Ok(statement.load(connection).await?)
}

/// How many entries a task has from version `since` on.
///
/// # Errors
/// The database fails.
pub async fn count(
    connection: &mut AsyncPgConnection,
    task_id: i64,
    since: i64,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Total {
        #[diesel(sql_type = BigInt)]
        total: i64,
    }
    let statement = Statement::new(
        "SELECT count(*) AS total FROM task_activity
         WHERE task_id = $1 AND subject_kind = 'task' AND task_version >= $2",
    )
    .bind::<BigInt, _>(task_id)
    .bind::<BigInt, _>(since);
    let total: Total = statement.get_result(connection).await?;
    Ok(total.total)
}
