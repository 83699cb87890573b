//! `/sessions`: signing in and out.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::api_v2_operation;

use crate::access::{Caller, issue};
use crate::http::answer::{Created, Deleted};
use crate::http::dto::{SessionInput, SessionView};
use crate::http::error::ApiError;
use crate::http::fields::Body;
use crate::http::{State, to_the_end};
use crate::store::StoreError;
use crate::store::tokens::{self, Kind, NewToken};
use crate::store::users;

#[api_v2_operation(operation_id = "signIn", tags("access"), summary = "Sign in")]
pub async fn create(
    state: Data<State>,
    input: Body<SessionInput>,
) -> Result<Created<SessionView>, ApiError> {
    let SessionInput { email, password } = input.0;
    let found = users::credentials(&mut *state.store.connection().await?, &email).await?;
    let (user_id, hash) = found.unzip();
    // Also where there is no such user: both take as long, and are answered alike.
    let right = state.passwords.verify(password, hash).await?;
    let user_id = user_id.filter(|_| right).ok_or(ApiError::BadCredentials)?;
    let session = to_the_end(async move {
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
        let mut connection = state.store.connection().await?;
        let (_, token) = match issue(&mut connection, session).await {
            // The user was deleted a moment ago.
            Err(StoreError::Missing(_)) => return Err(ApiError::BadCredentials),
            other => other?,
        };
        let user = users::find(&mut connection, user_id).await?.ok_or(ApiError::BadCredentials)?;
        Ok(SessionView { token: token.expose().to_owned(), expires_at, user: user.into() })
    })
    .await?;
    Ok(Created::at("/sessions/current".to_owned(), &session))
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
