//! `/users`.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::api_v2_operation;

use crate::access::Caller;
use crate::cache::Scope;
use crate::domain::user::Role;
use crate::http::answer::{Answer, Created, Deleted};
use crate::http::dto::{UserInput, UserPage, UserPatch, UserView};
use crate::http::error::ApiError;
use crate::http::fields::{Body, Id, Params, Patch};
use crate::http::idempotency_key::Once;
use crate::http::paging::ListParams;
use crate::http::{State, to_the_end};
use crate::store::StoreError;
use crate::store::users::{self, UserChange};

#[api_v2_operation(operation_id = "listUsers", tags("users"), summary = "List users")]
pub async fn list(
    state: Data<State>,
    params: Params<ListParams>,
) -> Result<Answer<UserPage>, ApiError> {
    let params = params.0;
    let mut connection = state.store.connection().await?;
    let rows =
        users::list(&mut connection, params.after.unwrap_or_default(), params.rows()).await?;
    let total = match params.total {
        Some(true) => Some(users::count(&mut connection).await?),
        _ => None,
    };
    Ok(Answer::ok(&UserPage::of(rows, params.rows(), |user| user.id, total)))
}

#[api_v2_operation(operation_id = "createUser", tags("users"), summary = "Create a user")]
pub async fn create(
    state: Data<State>,
    request: Once<UserInput>,
) -> Result<Created<UserView>, ApiError> {
    let Once(input, key) = request;
    to_the_end(async move {
        let change = UserChange {
            email: Some(input.email),
            name: Some(input.name),
            role: Some(input.role.as_str()),
            password_hash: Some(state.passwords.hash(input.password).await?),
        };
        let written = key.write(&state, async |connection| {
            let user = users::insert(connection, change, Utc::now().trunc_subsecs(6)).await?;
            Ok(Created::at(format!("/users/{}", user.id), &UserView::from(user)))
        });
        written.await.map_err(|refused| refused.or(taken))
    })
    .await
}

#[api_v2_operation(operation_id = "getUser", tags("users"), summary = "Get a user")]
pub async fn get(state: Data<State>, caller: Caller, id: Id) -> Result<Answer<UserView>, ApiError> {
    visible(caller, id.0)?;
    let found = users::find(&mut *state.store.connection().await?, id.0).await?;
    Ok(Answer::ok(&UserView::from(found.ok_or(ApiError::NotFound("user"))?)))
}

#[api_v2_operation(operation_id = "patchUser", tags("users"), summary = "Change parts of a user")]
pub async fn patch(
    state: Data<State>,
    caller: Caller,
    id: Id,
    input: Body<UserPatch>,
) -> Result<Answer<UserView>, ApiError> {
    let (id, patch) = (id.0, input.0);
    visible(caller, id)?;
    if patch.role != Patch::Absent && !caller.is_admin() {
        return Err(ApiError::Forbidden("only an admin changes roles"));
    }
    let user = to_the_end(async move {
        let password_hash = match patch.password.or(None) {
            Some(password) => Some(state.passwords.hash(password).await?),
            None => None,
        };
        let change = UserChange {
            email: patch.email.or(None),
            name: match patch.name {
                Patch::Absent => None,
                Patch::Null => Some(None),
                Patch::Set(name) => Some(Some(name)),
            },
            password_hash,
            role: patch.role.or(None).map(Role::as_str),
        };
        let mut connection = state.store.connection().await?;
        let updated = users::update(&mut connection, id, change, Utc::now().trunc_subsecs(6)).await;
        state.tokens.changed();
        updated.map_err(taken)?.ok_or(ApiError::NotFound("user"))
    })
    .await?;
    Ok(Answer::ok(&UserView::from(user)))
}

#[api_v2_operation(
    operation_id = "deleteUser",
    tags("users"),
    summary = "Delete a user; its tasks stay"
)]
pub async fn delete(state: Data<State>, id: Id) -> Result<Deleted, ApiError> {
    let id = id.0;
    to_the_end(async move {
        let deleted = users::delete(&mut *state.store.connection().await?, id, Utc::now()).await?;
        let tasks = deleted.ok_or(ApiError::NotFound("user"))?;
        state.tokens.changed();
        let scopes = tasks.into_iter().map(Scope::Task).chain([Scope::TaskLists]);
        state.written(scopes.collect()).await;
        Ok(Deleted)
    })
    .await
}

/// Of other users a member is not told whether they exist.
fn visible(caller: Caller, id: i64) -> Result<(), ApiError> {
    if caller.sees(Some(id)) { Ok(()) } else { Err(ApiError::NotFound("user")) }
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Taken(_) => ApiError::EmailTaken,
        other => other.into(),
    }
}
