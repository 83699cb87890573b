//! `/tokens`: long-lived tokens for programs. Users manage their own here. Admins list and revoke
//! those of others under `/users/{id}`; the same goes for sessions (`sessions`).

use actix_web::web::Data;
use chrono::{DateTime, SubsecRound, Utc};
use paperclip::actix::{api_v2_operation, web};
use serde_json::json;

use crate::access::{Caller, issue_token};
use crate::http::dto::{NewTokenView, TokenInput, TokenPage};
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::fields::Params;
use crate::http::extract::idempotency_key::IdempotentBody;
use crate::http::extract::ids::{Id, TokenId};
use crate::http::extract::paging::ListParams;
use crate::http::middleware::admission::Bearer;
use crate::http::response::{Created, Deleted, JsonResponse};
use crate::http::route::{Need, Route};
use crate::http::routes::operator::OperatorOf;
use crate::http::routes::users::visible;
use crate::http::{AppState, to_the_end};
use crate::operate::Operator;
use crate::store::accounts::credentials;
use crate::store::accounts::tokens::{self, Kind, NewToken};
use crate::store::{Connection, StoreError, transaction, unless_in_conflict};

/// The routes of API tokens.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/tokens", Need::Token, || web::Route::new().to(list))
        .says("Your API tokens, without their secrets.")
        .reads_parameters(),
    Route::post("/tokens", Need::Token, || web::Route::new().to(create))
        .says("For programs, with your rights. The token is shown once, in this answer.")
        .fails_with(|| vec![ApiError::TooManyTokens]),
    Route::delete("/tokens/{id}", Need::Token, || web::Route::new().to(delete))
        .says("One of yours. It is refused at once, by every instance."),
    Route::get("/users/{id}/tokens", Need::Token, || web::Route::new().to(list_of_user))
        .says("For the user and for admins; without their secrets.")
        .reads_parameters(),
    Route::delete("/users/{id}/tokens", Need::Token, || web::Route::new().to(delete_of_user))
        .says("For the user and for admins. Sessions go on."),
    Route::delete("/users/{id}/tokens/{tokenId}", Need::Token, || {
        web::Route::new().to(delete_one_of_user)
    })
    .says("For the user and for admins."),
];

#[api_v2_operation(operation_id = "listTokens", tags("access"), summary = "List your API tokens")]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    params: Params<ListParams>,
) -> Result<JsonResponse<TokenPage>, ApiError> {
    page(&state, owner(caller)?, params.0).await
}

#[api_v2_operation(operation_id = "createToken", tags("access"), summary = "Make an API token")]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    bearer: Bearer,
    operator: OperatorOf,
    request: IdempotentBody<TokenInput>,
) -> Result<Created<NewTokenView>, ApiError> {
    let user_id = owner(caller)?;
    let by = caller.holder().ok_or(ApiError::Unauthenticated)?;
    let IdempotentBody(TokenInput { name, expires_at }, key) = request;
    let created_at = Utc::now().trunc_subsecs(6);
    let expires_at = Some(expiry(&state, caller, created_at, expires_at)?);
    // The answer contains a token, so it is stored sealed for the holder of the token in this
    // request.
    let asking = bearer.0.ok_or(ApiError::Unauthenticated)?;
    let key = key.sealed(asking.expose().as_bytes());
    to_the_end(&state.clone(), caller.user_id(), async move {
        let new =
            NewToken { user_id, kind: Kind::Api, name: Some(name.clone()), created_at, expires_at };
        let written = unless_in_conflict!({
            let write = async |connection: &mut Connection| {
                transaction(connection, async |connection| {
                    let (id, token) = issue_token(connection, new.clone(), by).await?;
                    let (name, token) = (name.clone(), token.expose().to_owned());
                    let target = Some(format!("token {id} of user {user_id}"));
                    let details = json!({ "name": name, "expiresAt": expires_at });
                    operator.0.audit(connection, "create token", target, details, false).await?;
                    let made = NewTokenView { id, name, token, created_at, expires_at };
                    Ok(Created::at(format!("/tokens/{id}"), &made))
                })
                .await
            };
            key.write(&state, write).await
        });
        written.map_err(|refused| {
            refused.or(|error| match error {
                // The caller was deleted a moment ago.
                StoreError::Missing(_) => ApiError::InvalidToken,
                other => other.into(),
            })
        })
    })
    .await
}

/// The expiry of a new token. No token outlives the maximum lifetime, or the API token that asks
/// for it. Otherwise a stolen token could be renewed forever.
fn expiry(
    state: &AppState,
    caller: Caller,
    now: DateTime<Utc>,
    wanted: Option<DateTime<Utc>>,
) -> Result<DateTime<Utc>, ApiError> {
    let lifetime = chrono::Duration::from_std(state.common.token_lifetime).ok();
    let longest = lifetime.and_then(|lifetime| now.checked_add_signed(lifetime));
    let longest = longest.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let asking = caller.holder().filter(|holder| holder.kind == Kind::Api);
    let asking = asking.and_then(|holder| holder.expires_at);
    let last = asking.map_or(longest, |asking| asking.min(longest));
    match wanted {
        Some(at) if at > last => {
            let why = match asking {
                Some(asking) if asking <= longest => "when the token that asks for it ends".into(),
                _ => {
                    let days = humantime::format_duration(state.common.token_lifetime);
                    format!("{days} from now (TOKEN_MAX_LIFETIME)")
                }
            };
            let last = last.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            let message = format!("must not be after {last}, {why}");
            Err(ApiError::Validation(vec![Fault::new(RequestPart::Body, "expiresAt", message)]))
        }
        Some(at) => Ok(at),
        None => Ok(last),
    }
}

#[api_v2_operation(operation_id = "deleteToken", tags("access"), summary = "Revoke an API token")]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
) -> Result<Deleted, ApiError> {
    end(state, (caller, by.0), owner(caller)?, id.0, Kind::Api).await
}

#[api_v2_operation(
    operation_id = "listUserTokens",
    tags("access"),
    summary = "List a user's API tokens"
)]
pub async fn list_of_user(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    params: Params<ListParams>,
) -> Result<JsonResponse<TokenPage>, ApiError> {
    exists(&state, caller, id.0).await?;
    page(&state, id.0, params.0).await
}

#[api_v2_operation(
    operation_id = "deleteUserTokens",
    tags("access"),
    summary = "Revoke all of a user's API tokens"
)]
pub async fn delete_of_user(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
) -> Result<Deleted, ApiError> {
    end_all(state, (caller, by.0), id.0, Kind::Api).await
}

#[api_v2_operation(
    operation_id = "deleteUserToken",
    tags("access"),
    summary = "Revoke one of a user's API tokens"
)]
pub async fn delete_one_of_user(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
    token: TokenId,
) -> Result<Deleted, ApiError> {
    visible(caller, id.0)?;
    end(state, (caller, by.0), id.0, token.0, Kind::Api).await
}

async fn page(
    state: &AppState,
    user_id: i64,
    params: ListParams,
) -> Result<JsonResponse<TokenPage>, ApiError> {
    let (rows, total) = rows(state, user_id, Kind::Api, &params).await?;
    Ok(JsonResponse::ok(&TokenPage::of(rows, params.rows(), |token| token.id, total)))
}

/// One page of a user's tokens of one kind, and their total number if that is asked for.
pub(in crate::http) async fn rows(
    state: &AppState,
    user_id: i64,
    kind: Kind,
    params: &ListParams,
) -> Result<(Vec<tokens::TokenSummary>, Option<i64>), ApiError> {
    let mut connection = state.store.connection().await?;
    let after = params.after.unwrap_or_default();
    let rows = tokens::list(&mut connection, user_id, kind, after, params.rows()).await?;
    let total = match params.total {
        Some(true) => Some(tokens::count(&mut connection, user_id, kind).await?),
        _ => None,
    };
    Ok((rows, total))
}

/// Fails if the caller may not see this user, or if there is none.
pub(in crate::http) async fn exists(
    state: &AppState,
    caller: Caller,
    id: i64,
) -> Result<(), ApiError> {
    visible(caller, id)?;
    if caller.is_viewer() && caller.user_id() != Some(id) {
        return Err(ApiError::Forbidden("the tokens and sessions of others are for admins"));
    }
    let found = credentials::of(&mut *state.store.connection().await?, id).await?;
    found.map(drop).ok_or(ApiError::NotFound("user"))
}

/// Revokes one token of a user.
pub(in crate::http) async fn end(
    state: Data<AppState>,
    (caller, by): (Caller, Operator),
    user_id: i64,
    id: i64,
    kind: Kind,
) -> Result<Deleted, ApiError> {
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut connection = state.store.connection().await?;
        let found = unless_in_conflict!({
            let end = async |connection: &mut Connection| {
                let found = tokens::delete(connection, user_id, id, kind).await?;
                if found {
                    let (action, target) = ended(kind, id.to_string(), user_id);
                    by.audit(connection, action, target, json!({}), false).await?;
                }
                Ok(found)
            };
            transaction(&mut connection, end).await
        })?;
        if found {
            state.tokens.changed(user_id);
            return Ok(Deleted);
        }
        Err(ApiError::NotFound(if kind == Kind::Api { "token" } else { "session" }))
    })
    .await
}

/// Revokes all tokens of a user that are of one kind.
pub(in crate::http) async fn end_all(
    state: Data<AppState>,
    (caller, by): (Caller, Operator),
    user_id: i64,
    kind: Kind,
) -> Result<Deleted, ApiError> {
    visible(caller, user_id)?;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut connection = state.store.connection().await?;
        let count = unless_in_conflict!({
            let end = async |connection: &mut Connection| {
                let count = credentials::end_all(connection, user_id, kind).await?;
                if count.is_some() {
                    let (action, target) = ended(kind, "*".to_owned(), user_id);
                    by.audit(connection, action, target, json!({}), false).await?;
                }
                Ok(count)
            };
            transaction(&mut connection, end).await
        })?;
        count.ok_or(ApiError::NotFound("user"))?;
        state.tokens.changed(user_id);
        Ok(Deleted)
    })
    .await
}

/// What is written down of tokens or sessions that were ended.
fn ended(kind: Kind, id: String, user_id: i64) -> (&'static str, Option<String>) {
    match kind {
        Kind::Api => ("revoke token", Some(format!("token {id} of user {user_id}"))),
        Kind::Session => ("end session", Some(format!("session {id} of user {user_id}"))),
    }
}

/// The user who owns the tokens. Without authentication there is none.
pub(in crate::http) fn owner(caller: Caller) -> Result<i64, ApiError> {
    caller.user_id().ok_or(ApiError::Forbidden("sign in first: tokens belong to a user"))
}
