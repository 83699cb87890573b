//! The users and categories that tasks belong to.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::AsyncPgConnection;

use super::{COLUMNS, ColumnTypes, update};
use crate::domain::event::Origin;
use crate::domain::task::{Task, TaskFields, events};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// What a task may belong to.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    /// A user, by id.
    User(i64),
    /// A category, by id.
    Category(i64),
}

/// How many tasks are changed in one statement, so that its arrays stay small.
const DETACHED_AT_ONCE: usize = 1_000;

/// Detaches all tasks from their owner, each with its event. Returns their ids. Call this in a
/// transaction that has locked the owner, so that it gets no new tasks meanwhile.
///
/// # Errors
/// The database fails.
pub(in crate::store) async fn detach(
    connection: &mut AsyncPgConnection,
    owner: Owner,
    now: DateTime<Utc>,
    origin: Origin,
) -> Result<Vec<i64>, StoreError> {
    let (column, id) = match owner {
        Owner::User(id) => ("user_id", id),
        Owner::Category(id) => ("category_id", id),
    };
    let owned =
        format!("SELECT {COLUMNS} FROM tasks WHERE {column} = $1 ORDER BY id LIMIT $2 FOR UPDATE");
    let mut detached = Vec::new();
    loop {
        let statement = Statement::new(owned.clone())
            .bind::<BigInt, _>(id)
            .bind::<BigInt, _>(DETACHED_AT_ONCE as i64);
        let rows: Vec<Task> = statement.columns::<ColumnTypes>().load(connection).await?;
        if rows.is_empty() {
            return Ok(detached);
        }
        let writes = rows.into_iter().filter_map(|before| {
            let fields = match owner {
                Owner::User(_) => TaskFields { user_id: None, ..before.fields() },
                Owner::Category(_) => TaskFields { category_id: None, ..before.fields() },
            };
            let after = before.update(fields, now)?;
            let event = events::updated(&before, &after, origin.clone());
            Some((after, event))
        });
        let writes: Vec<_> = writes.collect();
        detached.extend(update(connection, &writes, None).await?);
    }
}

/// Which of the two don't exist, as `(user missing, category missing)`.
///
/// # Errors
/// The database fails.
pub async fn missing_owners(
    connection: &mut AsyncPgConnection,
    user_id: Option<i64>,
    category_id: Option<i64>,
) -> Result<(bool, bool), StoreError> {
    #[derive(QueryableByName)]
    struct Missing {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        user_missing: bool,
        #[diesel(sql_type = diesel::sql_types::Bool)]
        category_missing: bool,
    }
    let statement = Statement::new(
        "SELECT $1 IS NOT NULL AND NOT EXISTS (SELECT FROM users WHERE id = $1) AS user_missing,
                $2 IS NOT NULL AND NOT EXISTS (SELECT FROM categories WHERE id = $2) AS category_missing",
    )
    .bind::<Nullable<BigInt>, _>(user_id)
    .bind::<Nullable<BigInt>, _>(category_id);
    let missing: Missing = statement.get_result(connection).await?;
    Ok((missing.user_missing, missing.category_missing))
}
