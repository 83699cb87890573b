//! Sessions and API tokens, stored by their SHA-256: the token itself is stored nowhere.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};

use crate::domain::event::Actor;
use crate::domain::user::Role;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For a user who has signed in.
    Session,
    /// For a program.
    Api,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Session => "session",
            Kind::Api => "api",
        }
    }
}

/// A token to be stored.
#[derive(Clone)]
pub struct NewToken {
    /// The user's id.
    pub user_id: i64,
    /// What it is for.
    pub kind: Kind,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it expires; `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Stores a token by its SHA-256, and returns its id.
/// [`credentials`](crate::store::accounts::credentials) decides whether it may be made.
///
/// # Errors
/// [`StoreError::Missing`] if there is no such user.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    token: NewToken,
    hash: [u8; 32],
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let statement = Statement::new(
        "INSERT INTO tokens (user_id, kind, name, hash, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
    )
    .bind::<BigInt, _>(token.user_id)
    .bind::<Text, _>(token.kind.as_str())
    .bind::<Nullable<Text>, _>(token.name)
    .bind::<Bytea, _>(hash.to_vec())
    .bind::<Timestamptz, _>(token.created_at)
    .bind::<Nullable<Timestamptz>, _>(token.expires_at);
    let row: Id = statement.get_result(connection).await?;
    Ok(row.id)
}

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The token's id.
    pub token_id: i64,
    /// What it is for.
    pub kind: Kind,
    /// When it expires; `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
    /// The user's id.
    pub user_id: i64,
    /// The user's role.
    pub role: Role,
}

impl Holder {
    /// The holder as the actor of a change.
    pub fn actor(&self) -> Actor {
        match self.kind {
            Kind::Session => Actor::user(self.user_id),
            Kind::Api => Actor::token(self.token_id),
        }
    }
}

/// The holder of the token with this hash, if there is one. Notes that the token is in use, at most
/// once a minute.
///
/// # Errors
/// The database fails.
pub async fn holder(
    connection: &mut AsyncPgConnection,
    hash: [u8; 32],
) -> Result<Option<Holder>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        token_id: i64,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        expires_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = BigInt)]
        user_id: i64,
        #[diesel(sql_type = Text)]
        role: String,
    }
    let statement = Statement::new(
        "WITH found AS (
             SELECT t.id AS token_id, t.kind, t.expires_at, t.user_id, u.role, t.last_used_at
             FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.hash = $1),
         used AS (
             UPDATE tokens SET last_used_at = now() FROM found
             WHERE tokens.id = found.token_id
               AND (found.expires_at IS NULL OR found.expires_at > now())
               AND (found.last_used_at IS NULL OR found.last_used_at < now() - interval '1 min'))
         SELECT token_id, kind, expires_at, user_id, role FROM found",
    )
    .bind::<Bytea, _>(hash.to_vec());
    let row: Option<Row> = statement.get_result(connection).await.optional()?;
    Ok(row.map(|row| Holder {
        token_id: row.token_id,
        kind: if row.kind == Kind::Session.as_str() { Kind::Session } else { Kind::Api },
        expires_at: row.expires_at,
        user_id: row.user_id,
        // A check constraint of the column allows no other names.
        role: Role::from_name(&row.role).unwrap_or_default(),
    }))
}

/// A session or an API token as its owner sees it.
#[derive(Debug, Clone, QueryableByName)]
pub struct TokenSummary {
    /// Assigned by the database.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// The name that its owner gave it.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it expires; `None` for never.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A user's tokens of one kind after `after`, ascending by id. Sessions that have ended are left
/// out.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    kind: Kind,
    after: i64,
    limit: i64,
) -> Result<Vec<TokenSummary>, StoreError> {
    let statement = Statement::new(
        "SELECT id, coalesce(name, '') AS name, created_at, expires_at, last_used_at FROM tokens
         WHERE user_id = $1 AND id > $2 AND kind = $4 AND (kind = 'api' OR expires_at > now())
         ORDER BY id LIMIT $3",
    )
    .bind::<BigInt, _>(user_id)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(kind.as_str());
    Ok(statement.load(connection).await?)
}

/// How many tokens [`list`] returns over all pages.
///
/// # Errors
/// The database fails.
pub async fn count(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    kind: Kind,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let statement = Statement::new(
        "SELECT count(*) AS count FROM tokens
         WHERE user_id = $1 AND kind = $2 AND (kind = 'api' OR expires_at > now())",
    )
    .bind::<BigInt, _>(user_id)
    .bind::<Text, _>(kind.as_str());
    let row: Count = statement.get_result(connection).await?;
    Ok(row.count)
}

/// Deletes one token of a user. Returns whether there was one of that kind.
///
/// # Errors
/// The database fails.
pub async fn delete(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    id: i64,
    kind: Kind,
) -> Result<bool, StoreError> {
    let statement =
        Statement::new("DELETE FROM tokens WHERE id = $1 AND user_id = $2 AND kind = $3")
            .bind::<BigInt, _>(id)
            .bind::<BigInt, _>(user_id)
            .bind::<Text, _>(kind.as_str());
    Ok(statement.execute(connection).await? > 0)
}

/// Deletes all tokens of one kind that a user has. Returns how many there were.
///
/// # Errors
/// The database fails.
pub async fn delete_all(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    kind: Kind,
) -> Result<usize, StoreError> {
    let statement = Statement::new("DELETE FROM tokens WHERE user_id = $1 AND kind = $2")
        .bind::<BigInt, _>(user_id)
        .bind::<Text, _>(kind.as_str());
    Ok(statement.execute(connection).await?)
}

/// A session or an API token with its user, for operators.
#[derive(Debug, Clone, QueryableByName, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenWithUser {
    /// Assigned by the database.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// `api` or `session`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The user's id.
    #[diesel(sql_type = BigInt)]
    pub user_id: i64,
    /// The user's e-mail address.
    #[diesel(sql_type = Text)]
    pub email: String,
    /// The name that its owner gave it; a session has none.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it expires; `None` for never.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Tokens after `after` that have not expired, ascending by id: a user's, or everybody's.
///
/// # Errors
/// The database fails.
pub async fn list_all(
    connection: &mut AsyncPgConnection,
    user_id: Option<i64>,
    after: i64,
    limit: i64,
) -> Result<Vec<TokenWithUser>, StoreError> {
    let statement = Statement::new(
        "SELECT t.id, t.kind, t.user_id, u.email, t.name, t.created_at, t.expires_at, t.last_used_at
         FROM tokens t JOIN users u ON u.id = t.user_id
         WHERE t.id > $2 AND ($1 IS NULL OR t.user_id = $1)
           AND (t.expires_at IS NULL OR t.expires_at > now())
         ORDER BY t.id LIMIT $3",
    )
    .bind::<Nullable<BigInt>, _>(user_id)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}
