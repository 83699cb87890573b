//! Tasks, each written in one statement with the event of that change.

mod owners;
mod row;

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::event::NewEvent;
use crate::domain::task::Task;
use crate::store::delivery::new_events::{self, bind_lease};
use crate::store::delivery::outbox::Lease;
use crate::store::sql::{RunQueryDsl, Statement, unseen};
use crate::store::{StoreError, spans};
pub(in crate::store) use owners::detach;
pub use owners::{Owner, missing_owners};
pub(in crate::store) use row::{COLUMNS, ColumnTypes};

/// An event that was written, and the task that was changed with it.
#[derive(QueryableByName)]
struct WrittenTask {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = BigInt)]
    subject_id: i64,
}

/// Replaces the id in a payload, which the writer could not know.
const WITH_ID: &str = "payload || jsonb_build_object('id', id)";

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
    let lease_at = TASK_COLUMN_COUNT + new_events::COLUMN_COUNT + 2;
    let statement = Statement::new(format!(
        "WITH input AS MATERIALIZED (
             SELECT nextval('tasks_id_seq') AS id, t.*
             FROM unnest({arrays}) AS t ({TASK_COLUMNS}, {}, created_at)
             WHERE (user_id IS NULL OR (SELECT true FROM users u WHERE u.id = t.user_id))
               AND (category_id IS NULL OR (SELECT true FROM categories c WHERE c.id = t.category_id))),
         task AS (
             INSERT INTO tasks (id, {TASK_COLUMNS}, created_at)
             SELECT id, {TASK_COLUMNS}, created_at FROM input)
         {}",
        new_events::COLUMNS,
        new_events::insert("input", "id", WITH_ID, lease_at),
        arrays = unseen(1..lease_at)
    ));
    let statement = bind_writes(statement, tasks)
        .bind::<Array<Timestamptz>, _>(tasks.iter().map(|(t, _)| t.created_at).collect::<Vec<_>>());
    let spans = spans::writing("INSERT tasks", tasks.iter().map(|(_, event)| event));
    let inserted = bind_lease(statement, lease).load::<WrittenTask>(connection).await;
    let inserted = spans.end(inserted)?;
    Ok(inserted.into_iter().map(|row| (row.event_id, row.subject_id)).collect())
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
    let first = TASK_COLUMN_COUNT + 2;
    let statement = Statement::new(format!(
        "WITH task AS (
             INSERT INTO tasks ({TASK_COLUMNS}, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             RETURNING id)
         {}",
        new_events::insert(
            &new_events::one(first, "task"),
            "id",
            WITH_ID,
            first + new_events::COLUMN_COUNT
        )
    ))
    .bind::<Text, _>(task.title.clone())
    .bind::<Nullable<Text>, _>(task.description.clone())
    .bind::<Text, _>(task.status.as_str())
    .bind::<Nullable<BigInt>, _>(task.user_id)
    .bind::<Nullable<BigInt>, _>(task.category_id)
    .bind::<Nullable<Timestamptz>, _>(task.due_at)
    .bind::<BigInt, _>(task.version)
    .bind::<Timestamptz, _>(task.updated_at)
    .bind::<Nullable<Timestamptz>, _>(task.completed_at)
    .bind::<Timestamptz, _>(task.created_at);
    let statement = bind_lease(new_events::bind(statement, event), lease);
    let spans = spans::writing("INSERT tasks", [event]);
    let written: WrittenTask = spans.end(statement.get_result(connection).await)?;
    Ok(written.subject_id)
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
    let lease_at = TASK_COLUMN_COUNT + new_events::COLUMN_COUNT + 2;
    let statement = Statement::new(format!(
        "WITH input AS (SELECT * FROM unnest({arrays}) AS t ({TASK_COLUMNS}, {}, id)),
         task AS (
             UPDATE tasks SET title = i.title, description = i.description, status = i.status,
                              user_id = i.user_id, category_id = i.category_id, due_at = i.due_at,
                              version = i.version, updated_at = i.updated_at,
                              completed_at = i.completed_at
             FROM input i WHERE tasks.id = i.id AND tasks.version = i.version - 1
             RETURNING tasks.id)
         {}",
        new_events::COLUMNS,
        new_events::insert("input JOIN task USING (id)", "id", "payload", lease_at),
        arrays = unseen(1..lease_at)
    ));
    let statement = bind_writes(statement, writes)
        .bind::<Array<BigInt>, _>(writes.iter().map(|(t, _)| t.id).collect::<Vec<_>>());
    let spans = spans::writing("UPDATE tasks", writes.iter().map(|(_, event)| event));
    let written = bind_lease(statement, lease).load::<WrittenTask>(connection).await;
    let written = spans.end(written)?;
    Ok(written.into_iter().map(|row| row.subject_id).collect())
}

/// The columns of a task that each write sets.
const TASK_COLUMNS: &str = "title, description, status, user_id, category_id, due_at, version, \
     updated_at, completed_at";
const TASK_COLUMN_COUNT: usize = 9;

/// Binds an array for each of the [`TASK_COLUMNS`], then for each column of an event.
fn bind_writes(statement: Statement, writes: &[(Task, NewEvent)]) -> Statement {
    fn each<'a, T>(writes: &'a [(Task, NewEvent)], column: impl Fn(&'a Task) -> T) -> Vec<T> {
        writes.iter().map(|(task, _)| column(task)).collect()
    }
    let statement = statement
        .bind::<Array<Text>, _>(each(writes, |t| t.title.clone()))
        .bind::<Array<Nullable<Text>>, _>(each(writes, |t| t.description.clone()))
        .bind::<Array<Text>, _>(each(writes, |t| t.status.as_str()))
        .bind::<Array<Nullable<BigInt>>, _>(each(writes, |t| t.user_id))
        .bind::<Array<Nullable<BigInt>>, _>(each(writes, |t| t.category_id))
        .bind::<Array<Nullable<Timestamptz>>, _>(each(writes, |t| t.due_at))
        .bind::<Array<BigInt>, _>(each(writes, |t| t.version))
        .bind::<Array<Timestamptz>, _>(each(writes, |t| t.updated_at))
        .bind::<Array<Nullable<Timestamptz>>, _>(each(writes, |t| t.completed_at));
    new_events::bind_all(statement, writes.iter().map(|(_, event)| event))
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
    let statement = Statement::new(format!(
        "WITH task AS (DELETE FROM tasks WHERE id = $1 AND version = $2 - 1 RETURNING id) {}",
        new_events::insert(
            &new_events::one(3, "task"),
            "id",
            "payload",
            3 + new_events::COLUMN_COUNT
        )
    ))
    .bind::<BigInt, _>(last.id)
    .bind::<BigInt, _>(last.version);
    let statement = bind_lease(new_events::bind(statement, event), lease);
    let spans = spans::writing("DELETE tasks", [event]);
    let deleted: Vec<WrittenTask> = spans.end(statement.load(connection).await)?;
    Ok(!deleted.is_empty())
}
