//! `/sessions`: signing in and out.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::api_v2_operation;

use crate::access::{Caller, issue};
use crate::http::answer::{Created, Deleted};
use crate::http::dto::{SessionInput, SessionView};
use crate::http::error::ApiError;
use crate::http::idempotency_key::{Key, Once};
use crate::http::{State, to_the_end};
use crate::store::StoreError;
use crate::store::idempotency_keys::PartsHash;
use crate::store::tokens::{self, Kind, NewToken};
use crate::store::users;

#[api_v2_operation(operation_id = "signIn", tags("access"), summary = "Sign in")]
pub async fn create(
    state: Data<State>,
    request: Once<SessionInput>,
) -> Result<Created<SessionView>, ApiError> {
    let Once(SessionInput { email, password }, key) = request;
    let found = users::credentials(&mut *state.store.connection().await?, &email).await?;
    let (user_id, hash) = found.unzip();
    // Also where there is no such user: both take as long, and are answered alike.
    let right = state.passwords.verify(password.clone(), hash.clone()).await?;
    let user_id = user_id.filter(|_| right).ok_or(ApiError::BadCredentials)?;
    let key = sealed(&state, key.of_user(user_id), password, hash).await?;
    to_the_end(async move {
        let now = Utc::now().trunc_subsecs(6);
        // Beyond the end of time a session just doesn't end.
        let lifetime = chrono::Duration::from_std(state.session_lifetime).unwrap_or_default();
        let expires_at = now.checked_add_signed(lifetime).ok_or(ApiError::Internal)?;
        let session = NewToken {
            user_id,
            kind: Kind::Session,
            name: None,
            created_at: now,
            expires_at: Some(expires_at),
        };
        let written = key.write(&state, async |connection| {
            let (_, token) = issue(connection, session).await?;
            let user = users::find(connection, user_id).await?;
            let user = user.ok_or_else(|| StoreError::Missing("the user".to_owned()))?.into();
            let session = SessionView { token: token.expose().to_owned(), expires_at, user };
            Ok(Created::at("/sessions/current".to_owned(), &session))
        });
        written.await.map_err(|refused| {
            refused.or(|error| match error {
                // The user was deleted a moment ago.
                StoreError::Missing(_) => ApiError::BadCredentials,
                other => other.into(),
            })
        })
    })
    .await
}

/// The answer shows a token, so it is kept under a key made of the password. With the stored hash in
/// its salt, that key differs by user, takes as long to guess at as the hash, and goes when it goes.
async fn sealed(
    state: &State,
    key: Key,
    password: String,
    hash: Option<String>,
) -> Result<Key, ApiError> {
    let Some(text) = key.text() else { return Ok(key) };
    let mut salt = PartsHash::default();
    salt.add(hash.unwrap_or_default().as_bytes());
    salt.add(text.as_bytes());
    let secret = state.passwords.key(password, salt.finish()).await?;
    Ok(key.sealed(&secret))
}

#[api_v2_operation(operation_id = "signOut", tags("access"), summary = "Sign out")]
pub async fn delete_current(state: Data<State>, caller: Caller) -> Result<Deleted, ApiError> {
    to_the_end(async move {
        let Caller::Known(holder) = caller else { return Err(ApiError::NotFound("session")) };
        let mut connection = state.store.connection().await?;
        // An API token is no session: it is ended by its id.
        let ended =
            tokens::delete(&mut connection, holder.user_id, holder.token_id, Kind::Session).await?;
        state.tokens.changed();
        if ended { Ok(Deleted) } else { Err(ApiError::NotFound("session")) }
    })
    .await
}
