//! Operations that give or take lasting access. Each decides under a lock on the user's row: of two
//! at the same time, the second sees what the first has done. So a change that ends a user's access
//! leaves nothing of it behind.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel_async::AsyncPgConnection;

use crate::domain::event::Origin;
use crate::domain::user::Role;
use crate::store::StoreError;
use crate::store::accounts::tokens::{self, Holder, Kind, NewToken};
use crate::store::accounts::users as people;
use crate::store::accounts::users::{User, UserChange, insert};
use crate::store::schema::users;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// How many unexpired API tokens a user may have.
pub const MOST_TOKENS: i64 = 100;
/// How many sessions a user may have: one more ends the oldest.
pub const MOST_SESSIONS: i64 = 100;

/// Why something was refused that the database could have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The password that was verified is no longer the user's.
    #[error("the password has changed meanwhile")]
    StalePassword,
    /// The caller's token has ended, or its user may do less than before.
    #[error("the token that asks has ended meanwhile")]
    Ended,
    /// See [`MOST_TOKENS`].
    #[error("the user has {MOST_TOKENS} API tokens already")]
    TooManyTokens,
    /// Nobody would be left to manage users.
    #[error("there is no other admin")]
    LastAdmin,
}

/// What decisions about a user are based on.
#[derive(Debug, Clone, Queryable)]
pub struct Credentials {
    /// The e-mail address.
    pub email: String,
    /// The password's hash, if there is a password.
    pub password_hash: Option<String>,
}

/// A user's current credentials.
///
/// # Errors
/// The database fails.
pub async fn of(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<Credentials>, StoreError> {
    let found = users::table.find(id).select((users::email, users::password_hash));
    Ok(found.first(connection).await.optional()?)
}

/// The same, and locks the user's row until the transaction ends.
async fn lock(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<Credentials>, StoreError> {
    let found = users::table.find(id).select((users::email, users::password_hash));
    Ok(found.for_no_key_update().get_result(connection).await.optional()?)
}

/// Checks that a caller still is who it was when its request was let in: its token and its role may
/// be cached for some seconds after they have ended.
async fn confirm(connection: &mut AsyncPgConnection, by: Holder) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        role: String,
    }
    let statement = Statement::new(
        "SELECT u.role FROM tokens t JOIN users u ON u.id = t.user_id
         WHERE t.id = $1 AND (t.expires_at IS NULL OR t.expires_at > now())
         FOR KEY SHARE OF t FOR SHARE OF u",
    )
    .bind::<BigInt, _>(by.token_id);
    let row: Option<Row> = statement.get_result(connection).await.optional()?;
    let role = row.and_then(|row| Role::from_name(&row.role));
    match (by.role, role) {
        (Role::Viewer, Some(_)) | (Role::Member, Some(Role::Member)) | (_, Some(Role::Admin)) => {
            Ok(())
        }
        _ => Err(StoreError::Denied(Refusal::Ended)),
    }
}

/// Opens a session, if the hash that the password was verified by is still the user's.
///
/// # Errors
/// [`Refusal::StalePassword`], or the database fails.
pub async fn open_session(
    connection: &mut AsyncPgConnection,
    session: NewToken,
    hash: [u8; 32],
    verified: &str,
) -> Result<i64, StoreError> {
    transaction(connection, async |connection| {
        let user = lock(connection, session.user_id).await?;
        if user.and_then(|user| user.password_hash).as_deref() != Some(verified) {
            return Err(StoreError::Denied(Refusal::StalePassword));
        }
        let statement = Statement::new(
            "DELETE FROM tokens WHERE id IN (
                 SELECT id FROM tokens WHERE user_id = $1 AND kind = 'session'
                 ORDER BY id DESC OFFSET $2)",
        )
        .bind::<BigInt, _>(session.user_id)
        .bind::<BigInt, _>(MOST_SESSIONS - 1);
        statement.execute(connection).await?;
        tokens::insert(connection, session, hash).await
    })
    .await
}

/// Adds an API token, if the caller's own token is still good.
///
/// # Errors
/// [`Refusal::Ended`] or [`Refusal::TooManyTokens`], or the database fails.
pub async fn add_token(
    connection: &mut AsyncPgConnection,
    token: NewToken,
    hash: [u8; 32],
    by: Holder,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Full {
        #[diesel(sql_type = Bool)]
        full: bool,
    }
    transaction(connection, async |connection| {
        if lock(connection, token.user_id).await?.is_none() {
            return Err(StoreError::Denied(Refusal::Ended));
        }
        confirm(connection, by).await?;
        let statement = Statement::new(
            "SELECT count(*) >= $2 AS full FROM tokens
             WHERE user_id = $1 AND kind = 'api' AND (expires_at IS NULL OR expires_at > now())",
        )
        .bind::<BigInt, _>(token.user_id)
        .bind::<BigInt, _>(MOST_TOKENS);
        let Full { full } = statement.get_result(connection).await?;
        if full {
            return Err(StoreError::Denied(Refusal::TooManyTokens));
        }
        tokens::insert(connection, token, hash).await
    })
    .await
}

/// Adds a user on behalf of a caller, if one is known.
///
/// # Errors
/// [`Refusal::Ended`]; [`StoreError::Taken`] if the e-mail address is taken.
pub async fn add_user(
    connection: &mut AsyncPgConnection,
    change: UserChange,
    by: Option<Holder>,
    now: DateTime<Utc>,
) -> Result<User, StoreError> {
    let Some(by) = by else { return insert(connection, change, now).await };
    transaction(connection, async |connection| {
        confirm(connection, by).await?;
        insert(connection, change, now).await
    })
    .await
}

/// The terms on which a user is changed.
#[derive(Debug, Clone, Default)]
pub struct ChangePolicy {
    /// The caller, if one is known.
    pub by: Option<Holder>,
    /// The hash that must still be the user's, if its password was asked for.
    pub verified: Option<String>,
    /// Whether API tokens stay when the password changes.
    pub keep_tokens: bool,
}

/// Changes a user; `None` if there is no such user. A new password ends the user's sessions, and
/// its API tokens unless they are to be kept.
///
/// # Errors
/// A [`Refusal`], [`StoreError::Taken`] if the new e-mail address is taken, or the database fails.
pub async fn revise(
    connection: &mut AsyncPgConnection,
    id: i64,
    change: UserChange,
    terms: ChangePolicy,
    now: DateTime<Utc>,
) -> Result<Option<User>, StoreError> {
    transaction(connection, async |connection| {
        // Without authentication, nobody can be locked out.
        let demotes = change.role.is_some_and(|role| role != Role::Admin.as_str());
        if demotes && terms.by.is_some() {
            leave_an_admin(connection, id).await?;
        }
        let Some(user) = lock(connection, id).await? else { return Ok(None) };
        if let Some(by) = terms.by {
            confirm(connection, by).await?;
        }
        if terms.verified.is_some() && user.password_hash != terms.verified {
            return Err(StoreError::Denied(Refusal::StalePassword));
        }
        let new_password = change.password_hash.is_some();
        let updated = people::update(connection, id, change, now).await?;
        if new_password && !terms.keep_tokens {
            tokens::delete_all(connection, id, Kind::Api).await?;
        }
        Ok(updated)
    })
    .await
}

/// Deletes a user on behalf of a caller: see [`people::delete`].
///
/// # Errors
/// A [`Refusal`], or the database fails.
pub async fn delete_user(
    connection: &mut AsyncPgConnection,
    id: i64,
    by: Option<Holder>,
    now: DateTime<Utc>,
    origin: Origin,
) -> Result<Option<Vec<i64>>, StoreError> {
    transaction(connection, async |connection| {
        if let Some(by) = by {
            leave_an_admin(connection, id).await?;
            confirm(connection, by).await?;
        }
        people::delete(connection, id, now, origin).await
    })
    .await
}

/// Ends all of a user's sessions or API tokens. Returns how many; `None` if there is no such user.
///
/// # Errors
/// The database fails.
pub async fn end_all(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    kind: Kind,
) -> Result<Option<usize>, StoreError> {
    transaction(connection, async |connection| {
        if lock(connection, user_id).await?.is_none() {
            return Ok(None);
        }
        tokens::delete_all(connection, user_id, kind).await.map(Some)
    })
    .await
}

/// Ends these sessions and API tokens, whoever has them. Returns the ids of those that existed.
///
/// # Errors
/// The database fails.
pub async fn revoke(
    connection: &mut AsyncPgConnection,
    ids: Vec<i64>,
) -> Result<Vec<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    transaction(connection, async |connection| {
        let statement = Statement::new(
            "SELECT id FROM users WHERE id IN (SELECT user_id FROM tokens WHERE id = ANY($1))
             ORDER BY id FOR NO KEY UPDATE",
        )
        .bind::<Array<BigInt>, _>(ids.clone());
        statement.execute(connection).await?;
        let statement = Statement::new("DELETE FROM tokens WHERE id = ANY($1) RETURNING id")
            .bind::<Array<BigInt>, _>(ids);
        let ended: Vec<Id> = statement.load(connection).await?;
        Ok(ended.into_iter().map(|row| row.id).collect())
    })
    .await
}

/// Refuses to take the rights of the only admin. If two admins take each other's at the same time,
/// one of them waits here.
async fn leave_an_admin(connection: &mut AsyncPgConnection, id: i64) -> Result<(), StoreError> {
    let admins = users::table.filter(users::role.eq(Role::Admin.as_str()));
    let admins = admins.order(users::id).select(users::id).for_no_key_update();
    let admins: Vec<i64> = admins.load(connection).await?;
    if admins == [id] { Err(StoreError::Denied(Refusal::LastAdmin)) } else { Ok(()) }
}
