//! Deliveries as they are shown.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::webhook::DeliveryState;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// A delivery.
#[derive(Debug, Clone, QueryableByName)]
pub struct DeliveryRow {
    /// Ascends.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// The event's type; `None` if the event is gone.
    #[diesel(sql_type = Nullable<Text>, column_name = "type")]
    pub event_type: Option<String>,
    /// The kind of its subject.
    #[diesel(sql_type = Nullable<Text>)]
    pub subject_kind: Option<String>,
    /// Its subject.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub subject_id: Option<i64>,
    /// The subject's version after the change.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub version: Option<i64>,
    /// The name of a [`DeliveryState`].
    #[diesel(sql_type = Text)]
    pub state: String,
    /// How often it was ever taken.
    #[diesel(sql_type = BigInt)]
    pub lease: i64,
    /// When it may be taken next.
    #[diesel(sql_type = Timestamptz)]
    pub due_at: DateTime<Utc>,
    /// What came of each try.
    #[diesel(sql_type = Jsonb)]
    pub attempts: Value,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was done or given up.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub settled_at: Option<DateTime<Utc>>,
}

fn select(condition: &str) -> String {
    format!(
        "SELECT d.id, d.event_id, e.type, e.subject_kind, e.task_id AS subject_id, e.task_version AS version,
             d.state, d.lease, d.due_at, d.attempts, d.created_at, d.settled_at
         FROM webhook_deliveries d LEFT JOIN events e ON e.id = d.event_id WHERE {condition}"
    )
}

/// The deliveries to an endpoint, newest first: those in a state, or all; those before one of them,
/// at most `limit`.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    state: Option<DeliveryState>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let sql = select(
        "d.webhook_id = $1 AND ($2 IS NULL OR d.state = $2) AND d.id < $3 ORDER BY d.id DESC LIMIT $4",
    );
    let statement = Statement::new(sql)
        .planned_for_its_values()
        .bind::<BigInt, _>(webhook_id)
        .bind::<Nullable<Text>, _>(state.map(DeliveryState::as_str))
        .bind::<BigInt, _>(before.unwrap_or(i64::MAX))
        .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// One delivery.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    webhook_id: i64,
    id: i64,
) -> Result<Option<DeliveryRow>, StoreError> {
    let statement = Statement::new(select("d.webhook_id = $1 AND d.id = $2"))
        .bind::<BigInt, _>(webhook_id)
        .bind::<BigInt, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}
