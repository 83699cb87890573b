//! `/users`.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::{api_v2_operation, web};
use serde_json::json;

use crate::access::{Caller, HashRequester};
use crate::cache::Scope;
use crate::domain::user::Role;
use crate::http::dto::{UserInput, UserPage, UserPatch, UserView};
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::body::Body;
use crate::http::extract::caller::Client;
use crate::http::extract::fields::{Params, Patch};
use crate::http::extract::idempotency_key::IdempotentBody;
use crate::http::extract::ids::Id;
use crate::http::extract::paging::ListParams;
use crate::http::middleware::admission::VIEWERS_LOOK;
use crate::http::request_id::RequestId;
use crate::http::response::{Created, Deleted, JsonResponse};
use crate::http::route::{Need, Route};
use crate::http::routes::operator::OperatorOf;
use crate::http::{AppState, to_the_end};
use crate::store::accounts::credentials::{self, ChangePolicy};
use crate::store::accounts::users::{self, UserChange};
use crate::store::{Connection, StoreError, transaction, unless_in_conflict};

/// The routes of users.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/users", Need::Operation, || web::Route::new().to(list))
        .says("A page of users, with their roles. Passwords are never shown.")
        .reads_parameters(),
    Route::post("/users", Need::Admin, || web::Route::new().to(create))
        .says(
            "Makes a user. With a password the user can sign in; without one, an admin makes a \
            token or sets a password later.",
        )
        .fails_with(|| vec![ApiError::EmailTaken]),
    Route::get("/users/{id}", Need::Token, || web::Route::new().to(get))
        .says("One user. For the user, and for admins and viewers."),
    Route::patch("/users/{id}", Need::Token, || web::Route::new().to(patch))
        .says(
            "Changes the fields that are in the body. Users change their own name, and with \
             `currentPassword` their address and password; a viewer the password alone. Admins \
             change everybody's, and roles.",
        )
        .open_to_viewers()
        .fails_with(|| vec![ApiError::EmailTaken, ApiError::LastAdmin, ApiError::WrongPassword]),
    Route::delete("/users/{id}", Need::Admin, || web::Route::new().to(delete))
        .says(
            "Deletes a user with all sessions and tokens. The user's tasks stay without one, and \
            each has an event for that.",
        )
        .fails_with(|| vec![ApiError::LastAdmin]),
];

#[api_v2_operation(operation_id = "listUsers", tags("users"), summary = "List users")]
pub async fn list(
    state: Data<AppState>,
    params: Params<ListParams>,
) -> Result<JsonResponse<UserPage>, ApiError> {
    let params = params.0;
    let mut connection = state.store.connection().await?;
    let rows =
        users::list(&mut connection, params.after.unwrap_or_default(), params.rows()).await?;
    let total = match params.total {
        Some(true) => Some(users::count(&mut connection).await?),
        _ => None,
    };
    Ok(JsonResponse::ok(&UserPage::of(rows, params.rows(), |user| user.id, total)))
}

#[api_v2_operation(operation_id = "createUser", tags("users"), summary = "Create a user")]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    client: Client,
    operator: OperatorOf,
    request: IdempotentBody<UserInput>,
) -> Result<Created<UserView>, ApiError> {
    let IdempotentBody(input, key) = request;
    // Hash before the write begins, since the write runs on when the client has gone.
    let password_hash =
        state.common.passwords.hash(asker(&state, caller, &client), input.password).await?;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let change = UserChange {
            email: Some(input.email),
            name: Some(input.name),
            role: Some(input.role.as_str()),
            password_hash: Some(password_hash),
        };
        let written = unless_in_conflict!({
            let write = async |connection: &mut Connection| {
                let now = Utc::now().trunc_subsecs(6);
                transaction(connection, async |connection| {
                    let (change, by) = (change.clone(), caller.holder());
                    let details = json!({ "role": change.role, "isNewUser": true });
                    let user = credentials::add_user(connection, change, by, now).await?;
                    let target = Some(format!("user {}", user.id));
                    operator.0.audit(connection, "change role", target, details, false).await?;
                    Ok(Created::at(format!("/users/{}", user.id), &UserView::from(user)))
                })
                .await
            };
            key.write(&state, write).await
        });
        written.map_err(|refused| refused.or(taken))
    })
    .await
}

#[api_v2_operation(operation_id = "getUser", tags("users"), summary = "Get a user")]
pub async fn get(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
) -> Result<JsonResponse<UserView>, ApiError> {
    visible(caller, id.0)?;
    let found = users::find(&mut *state.store.connection().await?, id.0).await?;
    Ok(JsonResponse::ok(&UserView::from(found.ok_or(ApiError::NotFound("user"))?)))
}

#[api_v2_operation(operation_id = "patchUser", tags("users"), summary = "Change parts of a user")]
pub async fn patch(
    state: Data<AppState>,
    caller: Caller,
    client: Client,
    by: OperatorOf,
    id: Id,
    input: Body<UserPatch>,
) -> Result<JsonResponse<UserView>, ApiError> {
    let (id, mut patch) = (id.0, input.0);
    visible(caller, id)?;
    if caller.is_viewer() && (caller.user_id() != Some(id) || !patch.is_password_alone()) {
        return Err(VIEWERS_LOOK);
    }
    if patch.role != Patch::Absent && !caller.is_admin() {
        return Err(ApiError::Forbidden("only an admin changes roles"));
    }
    let before = credentials::of(&mut *state.store.connection().await?, id).await?;
    let before = before.ok_or(ApiError::NotFound("user"))?;
    // An address that stays the same is no change, and requires no password.
    let email = patch.email.or(None).filter(|email| *email != before.email);
    let password = patch.password.or(None);
    let mut terms = ChangePolicy {
        by: caller.holder(),
        verified: None,
        keep_tokens: patch.keep_tokens.unwrap_or_default(),
    };
    let asker = asker(&state, caller, &client);
    if caller.user_id() == Some(id) && (email.is_some() || password.is_some()) {
        // Having a token of a user must not be enough to take over the account.
        if let Some(hash) = before.password_hash {
            let given = patch.current_password.take().ok_or_else(no_password)?;
            state.common.rates.guess(id).await?;
            if !state.common.passwords.verify(asker, given, Some(hash.clone())).await? {
                return Err(ApiError::WrongPassword);
            }
            terms.verified = Some(hash);
        }
        if email.is_some() && !caller.is_admin() {
            state.common.rates.change_address(id).await?;
        }
    }
    let password_hash = match password {
        Some(password) => Some(state.common.passwords.hash(asker, password).await?),
        None => None,
    };
    let change = UserChange {
        email,
        name: match patch.name {
            Patch::Absent => None,
            Patch::Null => Some(None),
            Patch::Set(name) => Some(Some(name)),
        },
        password_hash,
        role: patch.role.or(None).map(Role::as_str),
    };
    let user = to_the_end(&state.clone(), caller.user_id(), async move {
        let mut connection = state.store.connection().await?;
        let access_changes = change.password_hash.is_some() || change.role.is_some();
        let now = Utc::now().trunc_subsecs(6);
        let updated = unless_in_conflict!({
            let revise = async |connection: &mut Connection| {
                let (change, terms, role) = (change.clone(), terms.clone(), change.role);
                let user = credentials::revise(connection, id, change, terms, now).await?;
                if let (Some(_), Some(role)) = (&user, role) {
                    let (target, details) = (Some(format!("user {id}")), json!({ "role": role }));
                    by.0.audit(connection, "change role", target, details, false).await?;
                }
                Ok(user)
            };
            transaction(&mut connection, revise).await
        });
        let user = updated.map_err(|error| match error {
            StoreError::Taken(_) if !caller.is_admin() => unusable(),
            other => taken(other),
        })?;
        if access_changes {
            state.tokens.changed(id);
        }
        user.ok_or(ApiError::NotFound("user"))
    })
    .await?;
    Ok(JsonResponse::ok(&UserView::from(user)))
}

fn no_password() -> ApiError {
    let message = "is required for a new password or e-mail address: the password you have now";
    ApiError::Validation(vec![Fault::new(RequestPart::Body, "currentPassword", message)])
}

/// A member must not learn that another user has an address, as far as that can be hidden from
/// somebody who may try addresses.
fn unusable() -> ApiError {
    let message = "can't be your address; an admin can say more";
    ApiError::Validation(vec![Fault::new(RequestPart::Body, "email", message)])
}

fn asker(state: &AppState, caller: Caller, client: &Client) -> HashRequester {
    caller
        .user_id()
        .map_or_else(|| HashRequester::Address(client.address(state)), HashRequester::User)
}

#[api_v2_operation(
    operation_id = "deleteUser",
    tags("users"),
    summary = "Delete a user; its tasks stay"
)]
pub async fn delete(state: Data<AppState>, caller: Caller, id: Id) -> Result<Deleted, ApiError> {
    let id = id.0;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut connection = state.store.connection().await?;
        let by = caller.holder();
        let (now, origin) = (Utc::now(), RequestId::origin(&caller));
        let deleted = unless_in_conflict!(
            credentials::delete_user(&mut connection, id, by, now, origin.clone()).await
        )?;
        drop(connection);
        let tasks = deleted.ok_or(ApiError::NotFound("user"))?;
        state.tokens.changed(id);
        let events = tasks.len();
        let scopes = tasks.into_iter().map(Scope::Task).chain([Scope::TaskLists]);
        state.written(events, scopes.collect()).await;
        Ok(Deleted)
    })
    .await
}

/// A member doesn't learn whether other users exist.
pub(in crate::http) fn visible(caller: Caller, id: i64) -> Result<(), ApiError> {
    if caller.sees(Some(id)) { Ok(()) } else { Err(ApiError::NotFound("user")) }
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Taken(_) => ApiError::EmailTaken,
        other => other.into(),
    }
}
