//! `/sessions`: signing in, signing out, and the list of sessions.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::{api_v2_operation, web};
use serde_json::json;

use crate::access::{Caller, HashRequester, issue_session};
use crate::http::dto::{CurrentSessionView, SessionInput, SessionPage, SessionView};
use crate::http::error::ApiError;
use crate::http::extract::caller::Client;
use crate::http::extract::fields::Params;
use crate::http::extract::idempotency_key::{IdempotentBody, Key};
use crate::http::extract::ids::{Id, SessionId};
use crate::http::extract::paging::ListParams;
use crate::http::response::{Created, Deleted, JsonResponse};
use crate::http::route::{Class, Need, Route};
use crate::http::routes::operator::OperatorOf;
use crate::http::routes::tokens::{end, end_all, exists, owner, rows};
use crate::http::routes::users::visible;
use crate::http::{AppState, to_the_end};
use crate::operate::Operator;
use crate::store::accounts::tokens::{Kind, NewToken};
use crate::store::accounts::users;
use crate::store::idempotency_keys::PartsHash;
use crate::store::{Connection, StoreError, transaction, unless_in_conflict};

/// The routes of sessions.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/sessions", Need::Token, || web::Route::new().to(list))
        .says("Where you are signed in, with the session that asks among them.")
        .reads_parameters(),
    Route::post("/sessions", Need::Nothing, || web::Route::new().to(create))
        .says(
            "Signs in with an e-mail address and a password. The answer has a token for \
            `Authorization: Bearer …`, shown this once; attempts from one address are limited.",
        )
        .counted_as(Class::SignIn)
        .fails_with(|| vec![ApiError::BadCredentials]),
    Route::delete("/sessions", Need::Token, || web::Route::new().to(delete_all))
        .says("Ends every session of yours, also the one that asks. API tokens stay.")
        .open_to_viewers(),
    Route::get("/sessions/current", Need::Token, || web::Route::new().to(current)).says(
        "Who the token belongs to, of which kind it is, and the role it has. Without required \
            tokens, `user` is null and the role is that of an admin.",
    ),
    Route::delete("/sessions/current", Need::Token, || web::Route::new().to(delete_current))
        .says(
            "Ends the session whose token asks. An API token is no session and is not ended by \
            this.",
        )
        .open_to_viewers()
        .fails_with(|| vec![ApiError::NotFound("session")]),
    Route::delete("/sessions/{id}", Need::Token, || web::Route::new().to(delete))
        .says("Ends one session; its token is refused from then on.")
        .open_to_viewers(),
    Route::get("/users/{id}/sessions", Need::Token, || web::Route::new().to(list_of_user))
        .says("Where a user is signed in. For the user and for admins.")
        .reads_parameters(),
    Route::delete("/users/{id}/sessions", Need::Token, || web::Route::new().to(delete_of_user))
        .says(
            "Ends every session of a user, who then has to sign in again. For the user and for \
            admins.",
        ),
    Route::delete("/users/{id}/sessions/{sessionId}", Need::Token, || {
        web::Route::new().to(delete_one_of_user)
    })
    .says("Ends one session of a user. For the user and for admins."),
];

#[api_v2_operation(operation_id = "signIn", tags("access"), summary = "Sign in")]
pub async fn create(
    state: Data<AppState>,
    client: Client,
    by: OperatorOf,
    request: IdempotentBody<SessionInput>,
) -> Result<Created<SessionView>, ApiError> {
    let IdempotentBody(SessionInput { email, password }, key) = request;
    let asker = HashRequester::Address(client.address(&state));
    let found = users::credentials(&mut *state.store.connection().await?, &email).await?;
    let (user_id, hash) = found.unzip();
    // Also if there is no such user: then both take as long and get the same answer.
    let right = state.common.passwords.verify(asker, password.clone(), hash.clone()).await?;
    let Some((user_id, hash)) = user_id.zip(hash).filter(|_| right) else {
        let mut connection = state.store.connection().await?;
        by.0.audit_failed_sign_in(&mut connection, &email).await?;
        return Err(ApiError::BadCredentials);
    };
    let key = sealed(&state, asker, key.of_user(user_id), password, &hash).await?;
    to_the_end(&state.clone(), Some(user_id), async move {
        let now = Utc::now().trunc_subsecs(6);
        // The configuration allows 36525 days at most, so neither step overflows.
        let lifetime =
            chrono::Duration::from_std(state.common.session_lifetime).unwrap_or_default();
        let expires_at = now.checked_add_signed(lifetime).ok_or(ApiError::Internal)?;
        let session = NewToken {
            user_id,
            kind: Kind::Session,
            name: None,
            created_at: now,
            expires_at: Some(expires_at),
        };
        let by = Operator { name: format!("user {user_id}"), ..by.0 };
        let written = unless_in_conflict!({
            let write = async |connection: &mut Connection| {
                transaction(connection, async |connection| {
                    let token = issue_session(connection, session.clone(), &hash).await?;
                    let user = users::find(connection, user_id).await?;
                    let user = user.ok_or_else(|| StoreError::Missing("the user".to_owned()))?;
                    by.audit(connection, "sign-in", None, json!({}), false).await?;
                    let (token, user) = (token.expose().to_owned(), user.into());
                    let session = SessionView { token, expires_at, user };
                    Ok(Created::at("/sessions/current".to_owned(), &session))
                })
                .await
            };
            key.write(&state, write).await
        });
        written.map_err(|refused| {
            refused.or(|error| match error {
                // The user was deleted or changed the password a moment ago.
                StoreError::Missing(_) | StoreError::Denied(_) => ApiError::BadCredentials,
                other => other.into(),
            })
        })
    })
    .await
}

/// Seals the stored answer, which contains a token, under a key derived from the password. The hash
/// of the password is part of the salt. So the key differs by user, is as hard to guess as the
/// password is from its hash, and is lost when the hash is replaced.
async fn sealed(
    state: &AppState,
    asker: HashRequester,
    key: Key,
    password: String,
    hash: &str,
) -> Result<Key, ApiError> {
    let Some(text) = key.text() else { return Ok(key) };
    let mut salt = PartsHash::default();
    salt.add(hash.as_bytes());
    salt.add(text.as_bytes());
    let secret = state.common.passwords.key(asker, password, salt.finish()).await?;
    Ok(key.sealed(&secret))
}

#[api_v2_operation(
    operation_id = "getCurrentSession",
    tags("access"),
    summary = "Who you are, and what you may do"
)]
pub async fn current(
    state: Data<AppState>,
    caller: Caller,
) -> Result<JsonResponse<CurrentSessionView>, ApiError> {
    let role = caller.role();
    let Some(holder) = caller.holder() else {
        let kind = "none".to_owned();
        let nobody = CurrentSessionView { user: None, kind, role, expires_at: None };
        return Ok(JsonResponse::ok(&nobody));
    };
    let user = users::find(&mut *state.store.connection().await?, holder.user_id).await?;
    // A token that is still cached may have outlived its user by a moment.
    let user = user.ok_or(ApiError::InvalidToken)?;
    let kind = match holder.kind {
        Kind::Session => "session",
        Kind::Api => "token",
    };
    let (kind, expires_at) = (kind.to_owned(), holder.expires_at);
    Ok(JsonResponse::ok(&CurrentSessionView { user: Some(user.into()), kind, role, expires_at }))
}

#[api_v2_operation(operation_id = "signOut", tags("access"), summary = "Sign out")]
pub async fn delete_current(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
) -> Result<Deleted, ApiError> {
    // An API token is not a session; it is revoked by its id.
    let holder = caller.holder().filter(|holder| holder.kind == Kind::Session);
    let holder = holder.ok_or(ApiError::NotFound("session"))?;
    end(state, (caller, by.0), holder.user_id, holder.token_id, Kind::Session).await
}

#[api_v2_operation(operation_id = "listSessions", tags("access"), summary = "List your sessions")]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    params: Params<ListParams>,
) -> Result<JsonResponse<SessionPage>, ApiError> {
    page(&state, caller, owner(caller)?, params.0).await
}

#[api_v2_operation(
    operation_id = "signOutEverywhere",
    tags("access"),
    summary = "End all of your sessions"
)]
pub async fn delete_all(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
) -> Result<Deleted, ApiError> {
    end_all(state, (caller, by.0), owner(caller)?, Kind::Session).await
}

#[api_v2_operation(
    operation_id = "deleteSession",
    tags("access"),
    summary = "End one of your sessions"
)]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
) -> Result<Deleted, ApiError> {
    end(state, (caller, by.0), owner(caller)?, id.0, Kind::Session).await
}

#[api_v2_operation(
    operation_id = "listUserSessions",
    tags("access"),
    summary = "List a user's sessions"
)]
pub async fn list_of_user(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    params: Params<ListParams>,
) -> Result<JsonResponse<SessionPage>, ApiError> {
    exists(&state, caller, id.0).await?;
    page(&state, caller, id.0, params.0).await
}

#[api_v2_operation(
    operation_id = "deleteUserSessions",
    tags("access"),
    summary = "End all of a user's sessions"
)]
pub async fn delete_of_user(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
) -> Result<Deleted, ApiError> {
    end_all(state, (caller, by.0), id.0, Kind::Session).await
}

#[api_v2_operation(
    operation_id = "deleteUserSession",
    tags("access"),
    summary = "End one of a user's sessions"
)]
pub async fn delete_one_of_user(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
    session: SessionId,
) -> Result<Deleted, ApiError> {
    visible(caller, id.0)?;
    end(state, (caller, by.0), id.0, session.0, Kind::Session).await
}

async fn page(
    state: &AppState,
    caller: Caller,
    user_id: i64,
    params: ListParams,
) -> Result<JsonResponse<SessionPage>, ApiError> {
    let asking = caller.holder().map(|holder| holder.token_id);
    let (rows, total) = rows(state, user_id, Kind::Session, &params).await?;
    let rows = rows.into_iter().map(|row| (asking == Some(row.id), row)).collect();
    Ok(JsonResponse::ok(&SessionPage::of(rows, params.rows(), |(_, row)| row.id, total)))
}
