//! `/categories`.

use actix_web::web::Data;
use chrono::{SubsecRound, Utc};
use paperclip::actix::{api_v2_operation, web};

use crate::access::Caller;
use crate::cache::Scope;
use crate::http::dto::{CategoryInput, CategoryPage, CategoryPatch, CategoryView};
use crate::http::error::ApiError;
use crate::http::extract::body::Body;
use crate::http::extract::fields::{Params, Patch};
use crate::http::extract::idempotency_key::IdempotentBody;
use crate::http::extract::ids::Id;
use crate::http::extract::paging::ListParams;
use crate::http::request_id::RequestId;
use crate::http::response::{Created, Deleted, JsonResponse};
use crate::http::route::{Need, Route};
use crate::http::{AppState, to_the_end};
use crate::store::{Connection, StoreError, categories, unless_in_conflict};

/// The routes of categories.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/categories", Need::Token, || web::Route::new().to(list))
        .says("A page of categories. They belong to everybody, so members see them too.")
        .reads_parameters(),
    Route::post("/categories", Need::Admin, || web::Route::new().to(create))
        .says("Makes a category. No two have the same name.")
        .fails_with(taken_names),
    Route::get("/categories/{id}", Need::Token, || web::Route::new().to(get))
        .says("One category by its id."),
    Route::patch("/categories/{id}", Need::Admin, || web::Route::new().to(patch))
        .says("Gives a category another name. Tasks refer to it by its id and don't change.")
        .fails_with(taken_names),
    Route::delete("/categories/{id}", Need::Admin, || web::Route::new().to(delete))
        .says("Deletes a category. Its tasks stay without one, and each has an event for that."),
];

fn taken_names() -> Vec<ApiError> {
    vec![ApiError::CategoryNameTaken]
}

#[api_v2_operation(
    operation_id = "listCategories",
    tags("categories"),
    summary = "List categories"
)]
pub async fn list(
    state: Data<AppState>,
    params: Params<ListParams>,
) -> Result<JsonResponse<CategoryPage>, ApiError> {
    let params = params.0;
    let mut connection = state.store.connection().await?;
    let rows =
        categories::list(&mut connection, params.after.unwrap_or_default(), params.rows()).await?;
    let total = match params.total {
        Some(true) => Some(categories::count(&mut connection).await?),
        _ => None,
    };
    Ok(JsonResponse::ok(&CategoryPage::of(rows, params.rows(), |category| category.id, total)))
}

#[api_v2_operation(
    operation_id = "createCategory",
    tags("categories"),
    summary = "Create a category"
)]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    request: IdempotentBody<CategoryInput>,
) -> Result<Created<CategoryView>, ApiError> {
    let IdempotentBody(input, key) = request;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let written = unless_in_conflict!({
            let write = async |connection: &mut Connection| {
                let now = Utc::now().trunc_subsecs(6);
                let category = categories::insert(connection, input.name.clone(), now).await?;
                Ok(Created::at(
                    format!("/categories/{}", category.id),
                    &CategoryView::from(category),
                ))
            };
            key.write(&state, write).await
        });
        written.map_err(|refused| refused.or(taken))
    })
    .await
}

#[api_v2_operation(operation_id = "getCategory", tags("categories"), summary = "Get a category")]
pub async fn get(state: Data<AppState>, id: Id) -> Result<JsonResponse<CategoryView>, ApiError> {
    let found = categories::find(&mut *state.store.connection().await?, id.0).await?;
    Ok(JsonResponse::ok(&CategoryView::from(found.ok_or(ApiError::NotFound("category"))?)))
}

#[api_v2_operation(
    operation_id = "patchCategory",
    tags("categories"),
    summary = "Rename a category"
)]
pub async fn patch(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    input: Body<CategoryPatch>,
) -> Result<JsonResponse<CategoryView>, ApiError> {
    let (id, patch) = (id.0, input.0);
    let category = to_the_end(&state.clone(), caller.user_id(), async move {
        let mut connection = state.store.connection().await?;
        let category = match patch.name {
            Patch::Set(name) => {
                let now = Utc::now().trunc_subsecs(6);
                let renamed = unless_in_conflict!(
                    categories::rename(&mut connection, id, name.clone(), now).await
                );
                renamed.map_err(taken)?
            }
            Patch::Absent | Patch::Null => categories::find(&mut connection, id).await?,
        };
        category.ok_or(ApiError::NotFound("category"))
    })
    .await?;
    Ok(JsonResponse::ok(&CategoryView::from(category)))
}

#[api_v2_operation(
    operation_id = "deleteCategory",
    tags("categories"),
    summary = "Delete a category; its tasks stay"
)]
pub async fn delete(state: Data<AppState>, caller: Caller, id: Id) -> Result<Deleted, ApiError> {
    let id = id.0;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut connection = state.store.connection().await?;
        let (now, origin) = (Utc::now(), RequestId::origin(&caller));
        let deleted = unless_in_conflict!(
            categories::delete(&mut connection, id, now, origin.clone()).await
        )?;
        drop(connection);
        let tasks = deleted.ok_or(ApiError::NotFound("category"))?;
        let events = tasks.len();
        let scopes = tasks.into_iter().map(Scope::Task).chain([Scope::TaskLists]);
        state.written(events, scopes.collect()).await;
        Ok(Deleted)
    })
    .await
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Taken(_) => ApiError::CategoryNameTaken,
        other => other.into(),
    }
}
