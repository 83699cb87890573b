//! `/tasks`.

use actix_web::http::header::HeaderName;
use actix_web::web::Data;
use chrono::Utc;
use paperclip::actix::api_v2_operation;

use crate::access::Caller;
use crate::cache::Scope;
use crate::domain::event::Origin;
use crate::domain::task::{Task, TaskFields, events};
use crate::ground::defects::{self, Defect};
use crate::http::answer::{Answer, Created, Deleted, encode, encode_long};
use crate::http::dto::{TaskInput, TaskPage, TaskPatch, cleared};
use crate::http::error::ApiError;
use crate::http::extract::body::Body;
use crate::http::extract::fields::{Params, Patch};
use crate::http::extract::idempotency_key::{Once, Refused};
use crate::http::extract::ids::Id;
use crate::http::extract::paging::{TaskParams, task_cursor};
use crate::http::extract::preconditions::{Preconditions, Verdict};
use crate::http::routes::ownership::{NOT_YOURS, missing, owned, seen_by, visible};
use crate::http::{State, to_the_end};
use crate::store::delivery::defective;
use crate::store::{Conflicts, StoreError, task_list, tasks};

/// The usual length of a task in JSON, in bytes. If tasks are longer, a page costs another
/// allocation.
const TASK_BYTES: usize = 320;

#[api_v2_operation(operation_id = "listTasks", tags("tasks"), summary = "List tasks")]
pub async fn list(
    state: Data<State>,
    caller: Caller,
    params: Params<TaskParams>,
) -> Result<Answer<TaskPage>, ApiError> {
    let mut params = params.0;
    if let Some(own) = caller.confined_to()
        && *params.query.user_id.get_or_insert(own) != own
    {
        let total = params.total.filter(|wanted| *wanted).map(|_| 0);
        return Ok(Answer::ok(&TaskPage { data: Vec::new(), next_cursor: None, total }));
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
            let place = |task: &Task| task_cursor(sort, sort.place(task));
            let page = TaskPage::of(rows, query.limit, place, total);
            Ok::<_, ApiError>(encode_long(&page, (page.data.len() + 1) * TASK_BYTES))
        })
        .await?;
    Ok(Answer::encoded(body))
}

#[api_v2_operation(operation_id = "createTask", tags("tasks"), summary = "Create a task")]
pub async fn create(
    state: Data<State>,
    caller: Caller,
    request: Once<TaskInput>,
) -> Result<Created<Task>, ApiError> {
    let Once(input, key) = request;
    let fields = owned(caller, input.into())?;
    to_the_end(&state.clone(), caller.user_id(), async move {
        let task = Task::create(fields, Utc::now());
        let origin = Origin::of(caller.actor());
        let (user_id, category_id) = (task.user_id, task.category_id);
        let created =
            |task: &Task| Created::at(format!("/tasks/{}", task.id), task).tagged(task.version);
        let mut late = None;
        let in_transaction = key.is_given() || defects::has(Defect::PublishAfterCommit);
        let written = if in_transaction {
            let write = key.write(&state, async |connection| {
                let event = events::created(&task, origin);
                let id = tasks::insert(connection, &task, &event, None).await?;
                let task = Task { id, ..task };
                if defects::has(Defect::PublishAfterCommit) {
                    late = defective::withhold(connection, task.id).await?;
                }
                Ok(created(&task))
            });
            write.await
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
        if let Some(event) = late {
            tokio::time::sleep(defects::PAUSE).await;
            defective::add_late(&mut *state.store.connection().await?, event).await?;
        }
        // The batch that wrote the task has done this otherwise.
        if in_transaction {
            state.written(vec![Scope::TaskLists]).await;
        }
        Ok(answer)
    })
    .await
}

#[api_v2_operation(operation_id = "getTask", tags("tasks"), summary = "Get a task")]
pub async fn get(
    state: Data<State>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
) -> Result<Answer<Task>, ApiError> {
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
        Verdict::Holds => Ok(Answer::encoded(body).tagged(version)),
        Verdict::NotModified => Ok(Answer::not_modified(version)),
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
    state: Data<State>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
    input: Body<TaskInput>,
) -> Result<Answer<Task>, ApiError> {
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
    state: Data<State>,
    caller: Caller,
    id: Id,
    preconditions: Preconditions,
    input: Body<TaskPatch>,
) -> Result<Answer<Task>, ApiError> {
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
    state: Data<State>,
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
            let event = events::deleted(&last, Origin::of(caller.actor()));
            let ticket = state.publisher.ticket(1);
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

/// What a change of this task makes stale.
fn scopes(id: i64) -> Vec<Scope> {
    vec![Scope::TaskLists, Scope::Task(id)]
}

/// Of n writers that compete for a task, each round lets one through. So this many may compete.
const MOST_TRIES: usize = 200;

/// Reads a task, decides on the change, and writes it. If another update came first, it starts
/// over. The preconditions are checked against each version that is read, so a request with
/// `If-Match` fails once another update came first. Returns the version that was replaced, and the
/// answer.
async fn update(
    state: Data<State>,
    caller: Caller,
    id: i64,
    preconditions: Preconditions,
    decide: impl Fn(&Task) -> Result<TaskFields, ApiError> + Send + Sync + 'static,
) -> Result<(Task, Answer<Task>), ApiError> {
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut conflicts = Conflicts::default();
        for _ in 0..MOST_TRIES {
            let mut connection = state.store.connection().await?;
            let before = visible(caller, tasks::find(&mut connection, id).await?)?;
            preconditions.of_write(before.version)?;
            let Some(after) = before.update(decide(&before)?, Utc::now()) else {
                let answer = Answer::ok(&before).tagged(before.version);
                return Ok((before, answer));
            };
            let event = events::updated(&before, &after, Origin::of(caller.actor()));
            let (write, ticket) = ([(after.clone(), event)], state.publisher.ticket(1));
            let lease = ticket.lease();
            let update = async {
                let mut connection = connection;
                tasks::update(&mut connection, &write, lease).await
            };
            let written = state.cache.write(scopes(id), update, Result::is_ok).await;
            if conflicts.may_try_again(&written) {
                continue;
            }
            match written {
                Ok(ids) if ids.is_empty() => continue,
                Err(StoreError::Missing(_)) => {
                    return Err(missing(&state, after.user_id, after.category_id).await);
                }
                other => drop(other?),
            }
            ticket.hand_over(write.iter().map(|(_, event)| event));
            return Ok((before, Answer::ok(&after).tagged(after.version)));
        }
        Err(ApiError::WriteConflict)
    })
    .await
}
