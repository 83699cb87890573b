//! Users.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::AsyncPgConnection;

use crate::domain::event::Origin;
use crate::domain::user::Role;
use crate::store::accounts::tokens;
use crate::store::schema::users;
use crate::store::sql::{RunQueryDsl, Statement, transaction};
use crate::store::{StoreError, mail_limits, tasks};

diesel::define_sql_function! {
    /// The function that the index on the column uses.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

/// A user without the password's hash, which no function here returns.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct User {
    /// Assigned by the database.
    pub id: i64,
    /// As the user wrote it; unique regardless of case.
    pub email: String,
    /// What to call the user.
    pub name: Option<String>,
    /// When the user was created.
    pub created_at: DateTime<Utc>,
    /// When the user last changed.
    pub updated_at: DateTime<Utc>,
    /// The name of the user's [`Role`].
    pub role: String,
}

/// The fields to write; absent ones stay as they are.
#[derive(Clone, Default, Insertable, AsChangeset)]
#[diesel(table_name = users)]
pub struct UserChange {
    /// See [`User::email`].
    pub email: Option<String>,
    /// See [`User::name`]; `Some(None)` clears it.
    pub name: Option<Option<String>>,
    /// An argon2id hash in the PHC string form.
    pub password_hash: Option<String>,
    /// The name of a [`Role`].
    pub role: Option<&'static str>,
}

/// Adds a user.
///
/// # Errors
/// [`StoreError::Taken`] if the e-mail address is taken.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    change: UserChange,
    now: DateTime<Utc>,
) -> Result<User, StoreError> {
    let row = (change, users::created_at.eq(now), users::updated_at.eq(now));
    let inserted = diesel::insert_into(users::table)
        .values(row)
        .returning(User::as_returning())
        .get_result(connection);
    Ok(inserted.await?)
}

/// Finds one user.
///
/// # Errors
/// The database fails.
pub async fn find(connection: &mut AsyncPgConnection, id: i64) -> Result<Option<User>, StoreError> {
    Ok(users::table.find(id).select(User::as_select()).first(connection).await.optional()?)
}

/// Those of these users that exist.
///
/// # Errors
/// The database fails.
pub async fn find_all(
    connection: &mut AsyncPgConnection,
    ids: &[i64],
) -> Result<Vec<User>, StoreError> {
    let found = users::table.filter(users::id.eq_any(ids)).select(User::as_select());
    Ok(found.load(connection).await?)
}

/// The users after `after`, ascending by id.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<User>, StoreError> {
    let page = users::table.filter(users::id.gt(after)).order(users::id).limit(limit);
    Ok(page.select(User::as_select()).load(connection).await?)
}

/// How many users there are.
///
/// # Errors
/// The database fails.
pub async fn count(connection: &mut AsyncPgConnection) -> Result<i64, StoreError> {
    Ok(users::table.count().get_result(connection).await?)
}

/// Whether there is an admin.
///
/// # Errors
/// The database fails.
pub async fn has_admin(connection: &mut AsyncPgConnection) -> Result<bool, StoreError> {
    let admins = users::table.filter(users::role.eq(Role::Admin.as_str())).select(users::id);
    Ok(admins.first::<i64>(connection).await.optional()?.is_some())
}

/// A user's id and password hash, by e-mail address in any case. Only for signing in, which a user
/// without a password can't.
///
/// # Errors
/// The database fails.
pub async fn credentials(
    connection: &mut AsyncPgConnection,
    email: &str,
) -> Result<Option<(i64, String)>, StoreError> {
    let found = users::table
        .filter(lower(users::email).eq(lower(email)))
        .filter(users::password_hash.is_not_null())
        .select((users::id, users::password_hash.assume_not_null()))
        .first(connection);
    Ok(found.await.optional()?)
}

/// The id of the user with this e-mail address, in any case.
///
/// # Errors
/// The database fails.
pub async fn id_of(
    connection: &mut AsyncPgConnection,
    email: &str,
) -> Result<Option<i64>, StoreError> {
    let found = users::table.filter(lower(users::email).eq(lower(email))).select(users::id);
    Ok(found.first(connection).await.optional()?)
}

/// Changes a user; `None` if there is no such user. A new password ends the user's sessions.
///
/// # Errors
/// [`StoreError::Taken`] if the new e-mail address is taken.
pub async fn update(
    connection: &mut AsyncPgConnection,
    id: i64,
    change: UserChange,
    now: DateTime<Utc>,
) -> Result<Option<User>, StoreError> {
    let ends_sessions = change.password_hash.is_some();
    let update = diesel::update(users::table.find(id))
        .set((change, users::updated_at.eq(now)))
        .returning(User::as_returning());
    if !ends_sessions {
        return Ok(update.get_result(connection).await.optional()?);
    }
    transaction(connection, async |connection| {
        let updated = update.get_result(connection).await.optional()?;
        tokens::delete_all(connection, id, tokens::Kind::Session).await?;
        Ok(updated)
    })
    .await
}

/// Those of these users that exist, with the addresses to send their mail to.
///
/// # Errors
/// The database fails.
pub async fn addresses(
    connection: &mut AsyncPgConnection,
    ids: Vec<i64>,
) -> Result<Vec<User>, StoreError> {
    Ok(users::table
        .filter(users::id.eq_any(ids))
        .select(User::as_select())
        .load(connection)
        .await?)
}

/// Deletes a user. Its tasks stay, without a user: each has changed, so each has its event.
/// `origin` says who made these changes. Returns the ids of those tasks, or `None` if there is no
/// such user.
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
        // From here on no task can be given to this user.
        let locked = users::table.find(id).select(users::id).for_update();
        if locked.first::<i64>(connection).await.optional()?.is_none() {
            return Ok(None);
        }
        let detached = tasks::detach(connection, tasks::Owner::User(id), now, origin).await?;
        diesel::delete(users::table.find(id)).execute(connection).await?;
        mail_limits::forget(connection, id).await?;
        Ok(Some(detached))
    })
    .await
}

/// Adds the user of the examples as user 1, unless there is a user 1 or one with its address.
/// Nobody can sign in as this user, who has no password. Returns whether it was added.
///
/// # Errors
/// The database fails.
pub async fn add_example(connection: &mut AsyncPgConnection) -> Result<bool, StoreError> {
    transaction(connection, async |connection| {
        let statement = Statement::new(
            "INSERT INTO users (id, email, name, created_at, updated_at)
             VALUES (1, 'user1@example.com', 'Example User', now(), now()) ON CONFLICT DO NOTHING",
        );
        let added = statement.execute(connection).await? > 0;
        // The next user must not be user 1 as well.
        let statement = Statement::new(
            "SELECT setval(pg_get_serial_sequence('users', 'id'), greatest(last_value, 1)) FROM users_id_seq",
        );
        if added {
            statement.execute(connection).await?;
        }
        Ok(added)
    })
    .await
}
