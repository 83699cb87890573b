//! Tasks, each written in one statement with the event of that change.

mod owners;
mod row;

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::json;
use uuid::Uuid;

use crate::domain::event::NewEvent;
use crate::domain::task::Task;
use crate::store::StoreError;
use crate::store::delivery::outbox::Lease;
use crate::store::sql::{RunQueryDsl, Statement, unseen};
pub(in crate::store) use owners::detach;
pub use owners::{Owner, missing_owners};
pub(in crate::store) use row::{COLUMNS, ColumnTypes};

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    task_id: i64,
}

/// Finds one task.
///
/// # Errors
/// The database fails.
pub async fn find(connection: &mut AsyncPgConnection, id: i64) -> Result<Option<Task>, StoreError> {
    let statement =
        Statement::new(format!("SELECT {COLUMNS} FROM tasks WHERE id = $1")).bind::<BigInt, _>(id);
    Ok(statement.columns::<ColumnTypes>().get_result(connection).await.optional()?)
}

/// Adds tasks, each with its event, in one statement. The database assigns the ids, and puts them
/// into the payloads. Tasks whose user or category doesn't exist are left out. Returns the ids of
/// the others, by event.
///
/// # Errors
/// The database fails; then nothing is written. [`StoreError::Missing`] if an owner was deleted
/// meanwhile.
pub async fn insert_all(
    connection: &mut AsyncPgConnection,
    tasks: &[(Task, NewEvent)],
    lease: Option<Lease>,
) -> Result<HashMap<Uuid, i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Inserted {
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
        #[diesel(sql_type = BigInt)]
        task_id: i64,
    }
    let statement = Statement::new(format!(
        "WITH input AS MATERIALIZED (
             SELECT nextval('tasks_id_seq') AS id, t.*
             FROM unnest({arrays})
                 AS t (title, description, status, user_id, category_id, due_at, version,
                       updated_at, completed_at, event_id, type, payload, created_at)
             WHERE (user_id IS NULL OR (SELECT true FROM users u WHERE u.id = t.user_id))
               AND (category_id IS NULL OR (SELECT true FROM categories c WHERE c.id = t.category_id))),
         task AS (
             INSERT INTO tasks (id, title, description, status, user_id, category_id, due_at, version,
                                created_at, updated_at, completed_at)
             SELECT id, title, description, status, user_id, category_id, due_at, version,
                    created_at, updated_at, completed_at FROM input)
         INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, lease_owner, leased_until)
         SELECT event_id, id, version, type, payload || jsonb_build_object('id', id), updated_at,
                $14, now() + $15 * interval '1 ms'
         FROM input
         RETURNING id AS event_id, task_id",
        arrays = unseen(1..=13)
    ));
    let statement = bind_writes(statement, tasks)
        .bind::<Array<Timestamptz>, _>(tasks.iter().map(|(t, _)| t.created_at).collect::<Vec<_>>());
    let statement = bind_lease(statement, lease);
    let inserted: Vec<Inserted> = statement.load(connection).await?;
    Ok(inserted.into_iter().map(|row| (row.event_id, row.task_id)).collect())
}

/// Adds one task, as [`insert_all`] does. It has a statement of its own, since one row is written
/// in less time than PostgreSQL takes to unpack arrays.
///
/// # Errors
/// [`StoreError::Missing`] if the user or the category doesn't exist.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    task: &Task,
    event: &NewEvent,
    lease: Option<Lease>,
) -> Result<i64, StoreError> {
    let statement = Statement::new(
        "WITH task AS (
             INSERT INTO tasks (title, description, status, user_id, category_id, due_at, version,
                                created_at, updated_at, completed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             RETURNING id)
         INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, lease_owner, leased_until)
         SELECT $11, id, $7, $12, $13 || jsonb_build_object('id', id), $9, $14, now() + $15 * interval '1 ms'
         FROM task
         RETURNING task_id",
    )
    .bind::<Text, _>(task.title.clone())
    .bind::<Nullable<Text>, _>(task.description.clone())
    .bind::<Text, _>(task.status.as_str())
    .bind::<Nullable<BigInt>, _>(task.user_id)
    .bind::<Nullable<BigInt>, _>(task.category_id)
    .bind::<Nullable<Timestamptz>, _>(task.due_at)
    .bind::<BigInt, _>(task.version)
    .bind::<Timestamptz, _>(task.created_at)
    .bind::<Timestamptz, _>(task.updated_at)
    .bind::<Nullable<Timestamptz>, _>(task.completed_at)
    .bind::<SqlUuid, _>(event.id)
    .bind::<Text, _>(event.event_type.as_str())
    .bind::<Jsonb, _>(json!(event.payload));
    let id: Id = bind_lease(statement, lease).get_result(connection).await?;
    Ok(id.task_id)
}

/// Binds the owner and the length of a lease, or nulls if there is none.
fn bind_lease(statement: Statement, lease: Option<Lease>) -> Statement {
    statement
        .bind::<Nullable<SqlUuid>, _>(lease.map(|lease| lease.owner))
        .bind::<Nullable<BigInt>, _>(lease.map(Lease::milliseconds))
}

/// The error for a missing user or category. [`missing_owners`] tells which of them it is.
pub fn owner_missing() -> StoreError {
    StoreError::Missing("tasks_owner".to_owned())
}

/// Writes these next versions and their events, unless another update came first: a task whose
/// version is no longer the one before stays as it is. Returns the ids of those written.
///
/// # Errors
/// [`StoreError::Missing`] if a user or a category doesn't exist; then nothing is written.
pub async fn update(
    connection: &mut AsyncPgConnection,
    writes: &[(Task, NewEvent)],
    lease: Option<Lease>,
) -> Result<Vec<i64>, StoreError> {
    let statement = Statement::new(format!(
        "WITH input AS (
             SELECT * FROM unnest({arrays})
                 AS t (title, description, status, user_id, category_id, due_at, version,
                       updated_at, completed_at, event_id, type, payload, id)),
         task AS (
             UPDATE tasks SET title = i.title, description = i.description, status = i.status,
                              user_id = i.user_id, category_id = i.category_id, due_at = i.due_at,
                              version = i.version, updated_at = i.updated_at,
                              completed_at = i.completed_at
             FROM input i WHERE tasks.id = i.id AND tasks.version = i.version - 1
             RETURNING tasks.id)
         INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, lease_owner, leased_until)
         SELECT event_id, id, version, type, payload, updated_at, $14, now() + $15 * interval '1 ms'
         FROM input JOIN task USING (id)
         RETURNING task_id",
        arrays = unseen(1..=13)
    ));
    let statement = bind_writes(statement, writes)
        .bind::<Array<BigInt>, _>(writes.iter().map(|(t, _)| t.id).collect::<Vec<_>>());
    let statement = bind_lease(statement, lease);
    let ids: Vec<Id> = statement.load(connection).await?;
    Ok(ids.into_iter().map(|id| id.task_id).collect())
}

/// Binds, as arrays in this order: title, description, status, user, category, due, version,
/// updated, completed; and of the event its id, type and payload.
fn bind_writes(statement: Statement, writes: &[(Task, NewEvent)]) -> Statement {
    fn each<'a, T>(
        writes: &'a [(Task, NewEvent)],
        column: impl Fn(&'a Task, &'a NewEvent) -> T,
    ) -> Vec<T> {
        writes.iter().map(|(task, event)| column(task, event)).collect()
    }
    statement
        .bind::<Array<Text>, _>(each(writes, |t, _| t.title.clone()))
        .bind::<Array<Nullable<Text>>, _>(each(writes, |t, _| t.description.clone()))
        .bind::<Array<Text>, _>(each(writes, |t, _| t.status.as_str()))
        .bind::<Array<Nullable<BigInt>>, _>(each(writes, |t, _| t.user_id))
        .bind::<Array<Nullable<BigInt>>, _>(each(writes, |t, _| t.category_id))
        .bind::<Array<Nullable<Timestamptz>>, _>(each(writes, |t, _| t.due_at))
        .bind::<Array<BigInt>, _>(each(writes, |t, _| t.version))
        .bind::<Array<Timestamptz>, _>(each(writes, |t, _| t.updated_at))
        .bind::<Array<Nullable<Timestamptz>>, _>(each(writes, |t, _| t.completed_at))
        .bind::<Array<SqlUuid>, _>(each(writes, |_, e| e.id))
        .bind::<Array<Text>, _>(each(writes, |_, e| e.event_type.as_str()))
        .bind::<Array<Jsonb>, _>(each(writes, |_, e| json!(e.payload)))
}

/// Deletes a task if it is still at the version before `last`, and writes its event. Returns
/// whether it did.
///
/// # Errors
/// The database fails.
pub async fn delete(
    connection: &mut AsyncPgConnection,
    last: &Task,
    event: &NewEvent,
    lease: Option<Lease>,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "WITH task AS (DELETE FROM tasks WHERE id = $1 AND version = $2 - 1 RETURNING id)
         INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, lease_owner, leased_until)
         SELECT $3, id, $2, $4, $5, $6, $7, now() + $8 * interval '1 ms' FROM task
         RETURNING task_id",
    )
    .bind::<BigInt, _>(last.id)
    .bind::<BigInt, _>(last.version)
    .bind::<SqlUuid, _>(event.id)
    .bind::<Text, _>(event.event_type.as_str())
    .bind::<Jsonb, _>(json!(event.payload))
    .bind::<Timestamptz, _>(last.updated_at);
    let deleted: Vec<Id> = bind_lease(statement, lease).load(connection).await?;
    Ok(!deleted.is_empty())
}
