//! `/users`.

use actix_web::web::Data;
use argon2::password_hash::SaltString;
use argon2::password_hash::rand_core::OsRng;
use argon2::{Argon2, PasswordHasher};
use chrono::{SubsecRound, Utc};
use paperclip::actix::api_v2_operation;

use crate::cache::Scope;
use crate::http::answer::{Answer, Created, Deleted};
use crate::http::dto::{UserInput, UserPage, UserPatch, UserView};
use crate::http::error::ApiError;
use crate::http::fields::{Body, Id, Params, Patch};
use crate::http::idempotency_key::Once;
use crate::http::paging::{ListParams, page};
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
    let (rows, next_cursor) = page(rows, params.rows(), |user| user.id);
    Ok(Answer::ok(&UserPage {
        data: rows.into_iter().map(Into::into).collect(),
        next_cursor,
        total,
    }))
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
            password_hash: Some(hash(&state, input.password).await?),
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
pub async fn get(state: Data<State>, id: Id) -> Result<Answer<UserView>, ApiError> {
    let found = users::find(&mut *state.store.connection().await?, id.0).await?;
    Ok(Answer::ok(&UserView::from(found.ok_or(ApiError::NotFound("user"))?)))
}

#[api_v2_operation(operation_id = "patchUser", tags("users"), summary = "Change parts of a user")]
pub async fn patch(
    state: Data<State>,
    id: Id,
    input: Body<UserPatch>,
) -> Result<Answer<UserView>, ApiError> {
    let (id, patch) = (id.0, input.0);
    let user = to_the_end(async move {
        let password_hash = match patch.password.or(None) {
            Some(password) => Some(hash(&state, password).await?),
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
        };
        let mut connection = state.store.connection().await?;
        let updated = users::update(&mut connection, id, change, Utc::now().trunc_subsecs(6)).await;
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
        let scopes = tasks.into_iter().map(Scope::Task).chain([Scope::TaskLists]);
        state.written(scopes.collect()).await;
        Ok(Deleted)
    })
    .await
}

/// The argon2id hash of a password, with the parameters of RFC 9106's second choice as the crate
/// has them. It takes tens of milliseconds and 19 MiB: off the async threads, a few at a time.
async fn hash(state: &State, password: String) -> Result<String, ApiError> {
    let _turn = state.hashing.acquire().await.map_err(|_| ApiError::Unavailable)?;
    let hashed = tokio::task::spawn_blocking(move || {
        let salt = SaltString::generate(&mut OsRng);
        Argon2::default().hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string())
    });
    match hashed.await {
        Ok(Ok(hash)) => Ok(hash),
        _ => {
            tracing::error!("a password could not be hashed");
            Err(ApiError::Internal)
        }
    }
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Taken(_) => ApiError::EmailTaken,
        other => other.into(),
    }
}
