//! The categories of tasks.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::AsyncPgConnection;

use crate::domain::event::Origin;
use crate::store::schema::categories;
use crate::store::sql::{RunQueryDsl, transaction};
use crate::store::{StoreError, tasks};

/// A category.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = categories)]
pub struct Category {
    /// Assigned by the database.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// When the category was created.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

/// Adds a category.
///
/// # Errors
/// [`StoreError::Taken`] if the name is taken.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    name: String,
    now: DateTime<Utc>,
) -> Result<Category, StoreError> {
    let row =
        (categories::name.eq(name), categories::created_at.eq(now), categories::updated_at.eq(now));
    let insert =
        diesel::insert_into(categories::table).values(row).returning(Category::as_returning());
    Ok(insert.get_result(connection).await?)
}

/// Finds one category.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<Category>, StoreError> {
    Ok(categories::table
        .find(id)
        .select(Category::as_select())
        .first(connection)
        .await
        .optional()?)
}

/// The categories after `after`, ascending by id.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<Category>, StoreError> {
    let page =
        categories::table.filter(categories::id.gt(after)).order(categories::id).limit(limit);
    Ok(page.select(Category::as_select()).load(connection).await?)
}

/// How many categories there are.
///
/// # Errors
/// The database fails.
pub async fn count(connection: &mut AsyncPgConnection) -> Result<i64, StoreError> {
    Ok(categories::table.count().get_result(connection).await?)
}

/// Renames a category; `None` if there is no such category.
///
/// # Errors
/// [`StoreError::Taken`] if the new name is taken.
pub async fn rename(
    connection: &mut AsyncPgConnection,
    id: i64,
    name: String,
    now: DateTime<Utc>,
) -> Result<Option<Category>, StoreError> {
    let update = diesel::update(categories::table.find(id))
        .set((categories::name.eq(name), categories::updated_at.eq(now)));
    Ok(update.returning(Category::as_returning()).get_result(connection).await.optional()?)
}

/// Deletes a category. Its tasks stay, without a category: each has changed, so each has its event.
/// `origin` says who made these changes. Returns the ids of those tasks, or `None` if there is no
/// such category.
///
/// # Errors
/// The database fails; then nothing has changed.
pub async fn delete(
    connection: &mut AsyncPgConnection,
    id: i64,
    now: DateTime<Utc>,
    origin: Origin,
) -> Result<Option<Vec<i64>>, StoreError> {
    transaction(connection, async |connection| {
        // From here on no task can be put into this category.
        let locked = categories::table.find(id).select(categories::id).for_update();
        if locked.first::<i64>(connection).await.optional()?.is_none() {
            return Ok(None);
        }
        let detached = tasks::detach(connection, tasks::Owner::Category(id), now, origin).await?;
        diesel::delete(categories::table.find(id)).execute(connection).await?;
        Ok(Some(detached))
    })
    .await
}
