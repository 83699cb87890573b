//! `/tasks`.

use actix_web::http::header::HeaderName;
use actix_web::web::Data;
use chrono::Utc;
use paperclip::actix::{api_v2_operation, web};

use crate::access::Caller;
use crate::cache::Scope;
use crate::domain::task::{Task, events};
use crate::http::dto::{TaskInput, TaskPage, TaskPatch, cleared};
use crate::http::error::ApiError;
use crate::http::extract::body::Body;
use crate::http::extract::fields::{Params, Patch};
use crate::http::extract::idempotency_key::{IdempotentBody, Refused};
use crate::http::extract::ids::Id;
use crate::http::extract::paging::{TaskParams, task_cursor};
use crate::http::extract::preconditions::{Preconditions, Verdict};
use crate::http::request_id::RequestId;
use crate::http::response::{Created, Deleted, JsonResponse, encode, encode_long};
use crate::http::route::{Header, Need, Route};
use crate::http::routes::ownership::{NOT_YOURS, missing, owned, seen_by, visible};
use crate::http::routes::task_update::{MOST_TRIES, scopes, update};
use crate::http::{AppState, to_the_end};
use crate::store::{Conflicts, Connection, StoreError, task_list, tasks, unless_in_conflict};

/// The routes of tasks.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/tasks", Need::Token, || web::Route::new().to(list))
        .says(
            "A page of tasks: a member's own, or everybody's for admins and viewers. Filters \
            combine; `nextCursor` leads to the next page, and is null on the last.",
        )
        .reads_parameters(),
    Route::post("/tasks", Need::Token, || web::Route::new().to(create))
        .says(
            "Makes a task and, in the same transaction, the event `TASK_CREATED`. With an \
            `Idempotency-Key` a repeat is answered as the first request was, and makes no second \
            task.",
        )
        .answers_with(&[Header::etag("201")])
        .fails_with(conflicts),
    Route::get("/tasks/{id}", Need::Token, || web::Route::new().to(get))
        .says(
            "A task as it is now. Its `ETag` is its version; with `If-None-Match` an unchanged \
            task is answered 304.",
        )
        .checks("If-None-Match", "Answer 304 if the task still has one of these")
        .answers_with(&[Header::etag("200"), Header::etag("304")]),
    Route::put("/tasks/{id}", Need::Token, || web::Route::new().to(replace))
        .checks("If-Match", "Write only if the task still has one of these")
        .answers_with(&[Header::etag("200"), WITH_CLEARED])
        .fails_with(conflicts),
    Route::patch("/tasks/{id}", Need::Token, || web::Route::new().to(patch))
        .says(
            "Changes the fields that are in the body (RFC 7396: null clears one) and makes the \
            event `TASK_UPDATED`. A change that changes nothing makes none. `If-Match` refuses \
            if somebody else was first.",
        )
        .checks("If-Match", "Write only if the task still has one of these")
        .answers_with(&[Header::etag("200")])
        .fails_with(conflicts),
    Route::delete("/tasks/{id}", Need::Token, || web::Route::new().to(delete))
        .says(
            "Deletes a task and makes the event `TASK_DELETED`. Its activity stays readable. \
            `If-Match` refuses if somebody else was first.",
        )
        .checks("If-Match", "Delete only if the task still has one of these")
        .fails_with(conflicts),
];

fn conflicts() -> Vec<ApiError> {
    vec![ApiError::WriteConflict]
}

const WITH_CLEARED: Header = Header {
    status: "200",
    name: "Taskd-Cleared",
    description: "Members that the request left out and that were cleared by that; absent if there are none",
    example: "description, dueAt",
};

/// The usual length of a task in JSON, in bytes. If tasks are longer, a page costs another
/// allocation.
const TASK_BYTES: usize = 320;

#[api_v2_operation(operation_id = "listTasks", tags("tasks"), summary = "List tasks")]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    params: Params<TaskParams>,
) -> Result<JsonResponse<TaskPage>, ApiError> {
    let mut params = params.0;
    if let Some(own) = caller.confined_to()
        && *params.query.user_id.get_or_insert(own) != own
    {
        let total = params.total.filter(|wanted| *wanted).map(|_| 0);
        return Ok(JsonResponse::ok(&TaskPage { data: Vec::new(), next_cursor: None, total }));
    }
    let key = format!("{} {}", seen_by(caller), params.cache_key());
    let body = state
        .cache
        .get(Scope::TaskLists, key, || async {
            let query = &params.query;
            let rows = state.task_pages.page(query).await?;
            let total = match params.total {
                Some(true) => {
                    Some(task_list::total(&mut *state.store.connection().await?, query).await?)
                }
                _ => None,
            };
            let sort = query.sort;
            let position = |task: &Task| task_cursor(sort, sort.position(task));
            let page = TaskPage::of(rows, query.limit, position, total);
            Ok::<_, ApiError>(encode_long(&page, (page.data.len() + 1) * TASK_BYTES))
        })
        .await?;
    Ok(JsonResponse::encoded(body))
}

#[api_v2_operation(operation_id = "createTask", tags("tasks"), summary = "Create a task")]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    request: IdempotentBody<TaskInput>,
) -> Result<Created<Task>, ApiError> {
    let IdempotentBody(input, key) = request;
    let fields = owned(caller, input.into())?;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let (task, origin) = (Task::create(fields, Utc::now()), RequestId::origin(&caller));
        let (user_id, category_id) = (task.user_id, task.category_id);
        let created =
            |task: &Task| Created::at(format!("/tasks/{}", task.id), task).tagged(task.version);
        let keyed = key.is_given();
        let written = if keyed {
            unless_in_conflict!({
                let add = async |connection: &mut Connection| {
                    let (task, origin) = (task.clone(), origin.clone());
                    Ok(created(&state.new_tasks.add_within(connection, task, origin).await?))
                };
                key.write(&state, add).await
            })
        } else {
            let added = state.new_tasks.add(task, origin).await;
            added.map(|task| created(&task)).map_err(Refused::Write)
        };
        let answer = match written {
            Ok(answer) => answer,
            Err(Refused::Write(StoreError::Missing(_))) => {
                return Err(missing(&state, user_id, category_id).await);
            }
            Err(refused) => return Err(refused.or(ApiError::from)),
        };
        // The batch that wrote the task has done this otherwise.
        if keyed {
            state.written(1, vec![Scope::TaskLists]).await;
        }
        Ok(answer)
    })
    .await
}

#[api_v2_operation(operation_id = "getTask", tags("tasks"), summary = "Get a task")]
pub async fn get(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
) -> Result<JsonResponse<Task>, ApiError> {
    let id = id.0;
    let body = state
        .cache
        .get(Scope::Task(id), seen_by(caller), || async {
            let found = tasks::find(&mut *state.store.connection().await?, id).await?;
            found
                .filter(|task| caller.sees(task.user_id))
                .map(|task| encode(&task))
                .ok_or(ApiError::NotFound("task"))
        })
        .await?;
    let version = version_of(&body)?;
    match preconditions.of_read(version) {
        Verdict::Holds => Ok(JsonResponse::encoded(body).tagged(version)),
        Verdict::NotModified => Ok(JsonResponse::not_modified(version)),
        Verdict::Failed => Err(ApiError::PreconditionFailed),
    }
}

/// The version of an encoded task. The cache stores the document alone, and finding one number in
/// it takes less than a microsecond.
fn version_of(body: &[u8]) -> Result<i64, ApiError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: i64,
    }
    let versioned: Versioned = serde_json::from_slice(body).map_err(|error| {
        tracing::error!(%error, "a cached task can't be read");
        ApiError::Internal
    })?;
    Ok(versioned.version)
}

/// Lists the members that a PUT has cleared because they were absent.
pub const CLEARED: HeaderName = HeaderName::from_static("taskd-cleared");

#[api_v2_operation(
    operation_id = "replaceTask",
    tags("tasks"),
    summary = "Replace a task; what is absent is cleared",
    description = "The body is the whole task: of what is absent `description`, `userId`, `categoryId` and \
        `dueAt` become null, and `status` becomes `pending`. The answer's header `Taskd-Cleared` names \
        what was lost that way. To change some members and keep the others, use PATCH."
)]
pub async fn replace(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
    input: Body<TaskInput>,
) -> Result<JsonResponse<Task>, ApiError> {
    let absent = input.0.absent.clone();
    let fields = owned(caller, input.0.into())?;
    let wanted = fields.clone();
    let decide = move |_: &Task| Ok(wanted.clone());
    let (before, answer) = update(state, caller, id.0, preconditions, decide).await?;
    let cleared = cleared(&absent, &before.fields(), &fields);
    Ok(if cleared.is_empty() { answer } else { answer.with(CLEARED, cleared.join(", ")) })
}

#[api_v2_operation(operation_id = "patchTask", tags("tasks"), summary = "Change parts of a task")]
pub async fn patch(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
    input: Body<TaskPatch>,
) -> Result<JsonResponse<Task>, ApiError> {
    let patch = input.0;
    let gives_away = patch.user_id == Patch::Null && caller.confined_to().is_some();
    let decide = move |before: &Task| match gives_away {
        true => Err(NOT_YOURS),
        false => owned(caller, patch.clone().apply(before.fields())),
    };
    Ok(update(state, caller, id.0, preconditions, decide).await?.1)
}

#[api_v2_operation(operation_id = "deleteTask", tags("tasks"), summary = "Delete a task")]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
) -> Result<Deleted, ApiError> {
    let id = id.0;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut conflicts = Conflicts::default();
        for _ in 0..MOST_TRIES {
            let mut connection = state.store.connection().await?;
            let found = tasks::find(&mut connection, id).await?;
            let task = visible(caller, found)?;
            preconditions.of_write(task.version)?;
            let last = task.delete(Utc::now());
            let event = events::deleted(&last, RequestId::origin(&caller));
            let ticket = state.common.publisher.ticket(1);
            let lease = ticket.lease();
            let delete = async {
                let mut connection = connection;
                tasks::delete(&mut connection, &last, &event, lease).await
            };
            let deleted = state.cache.write(scopes(id), delete, Result::is_ok).await;
            if conflicts.may_try_again(&deleted) {
                continue;
            }
            if deleted? {
                ticket.hand_over([&event]);
                return Ok(Deleted);
            }
        }
        Err(ApiError::WriteConflict)
    })
    .await
}
