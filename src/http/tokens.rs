//! `/tokens`: long-lived tokens for programs. Everybody has their own.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::api_v2_operation;

use crate::access::{Caller, issue};
use crate::http::admission::Bearer;
use crate::http::answer::{Answer, Created, Deleted};
use crate::http::dto::{NewTokenView, TokenInput, TokenPage};
use crate::http::error::ApiError;
use crate::http::fields::{Id, Params};
use crate::http::idempotency_key::Once;
use crate::http::paging::ListParams;
use crate::http::{State, to_the_end};
use crate::store::StoreError;
use crate::store::tokens::{self, Kind, NewToken};

#[api_v2_operation(operation_id = "listTokens", tags("access"), summary = "List your API tokens")]
pub async fn list(
    state: Data<State>,
    caller: Caller,
    params: Params<ListParams>,
) -> Result<Answer<TokenPage>, ApiError> {
    let (user_id, params) = (owner(caller)?, params.0);
    let mut connection = state.store.connection().await?;
    let rows =
        tokens::list(&mut connection, user_id, params.after.unwrap_or_default(), params.rows())
            .await?;
    let total = match params.total {
        Some(true) => Some(tokens::count(&mut connection, user_id).await?),
        _ => None,
    };
    Ok(Answer::ok(&TokenPage::of(rows, params.rows(), |token| token.id, total)))
}

#[api_v2_operation(
    operation_id = "createToken",
    tags("access"),
    summary = "Make an API token; it is shown once"
)]
pub async fn create(
    state: Data<State>,
    caller: Caller,
    bearer: Bearer,
    request: Once<TokenInput>,
) -> Result<Created<NewTokenView>, ApiError> {
    let user_id = owner(caller)?;
    let Once(TokenInput { name, expires_at }, key) = request;
    // The answer shows a token, so it is kept for whoever has the one that asks for it.
    let asking = bearer.0.ok_or(ApiError::Unauthenticated)?;
    let key = key.sealed(asking.expose().as_bytes());
    to_the_end(async move {
        let created_at = Utc::now().trunc_subsecs(6);
        let new =
            NewToken { user_id, kind: Kind::Api, name: Some(name.clone()), created_at, expires_at };
        let written = key.write(&state, async |connection| {
            let (id, token) = issue(connection, new).await?;
            let token = token.expose().to_owned();
            let made = NewTokenView { id, name, token, created_at, expires_at };
            Ok(Created::at(format!("/tokens/{id}"), &made))
        });
        written.await.map_err(|refused| {
            refused.or(|error| match error {
                // The caller was deleted a moment ago.
                StoreError::Missing(_) => ApiError::InvalidToken,
                other => other.into(),
            })
        })
    })
    .await
}

#[api_v2_operation(
    operation_id = "deleteToken",
    tags("access"),
    summary = "Revoke an API token of yours"
)]
pub async fn delete(state: Data<State>, caller: Caller, id: Id) -> Result<Deleted, ApiError> {
    let (user_id, id) = (owner(caller)?, id.0);
    to_the_end(async move {
        let mut connection = state.store.connection().await?;
        let deleted = tokens::delete(&mut connection, user_id, id, Kind::Api).await?;
        state.tokens.changed();
        if deleted { Ok(Deleted) } else { Err(ApiError::NotFound("token")) }
    })
    .await
}

/// Where nobody has to say who they are, nobody has tokens.
fn owner(caller: Caller) -> Result<i64, ApiError> {
    caller.user_id().ok_or(ApiError::Forbidden("sign in first: tokens belong to a user"))
}
