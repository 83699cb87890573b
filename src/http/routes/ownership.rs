//! Who may own a task, and who may see it.

use crate::access::Caller;
use crate::domain::task::{Task, TaskFields};
use crate::http::AppState;
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::store::tasks;

/// To a member, other users' tasks don't exist.
pub(super) fn visible(caller: Caller, found: Option<Task>) -> Result<Task, ApiError> {
    found.filter(|task| caller.sees(task.user_id)).ok_or(ApiError::NotFound("task"))
}

/// The part of a cache key that stands for the caller's scope: callers with the same text see the
/// same.
pub(super) fn seen_by(caller: Caller) -> String {
    caller.confined_to().map_or("all".to_owned(), |user| format!("user:{user}"))
}

pub(super) const NOT_YOURS: ApiError =
    ApiError::Forbidden("a member's tasks are its own: userId must be yours");

/// A task that a member writes is the member's own, also if the request names no user.
pub(super) fn owned(caller: Caller, mut fields: TaskFields) -> Result<TaskFields, ApiError> {
    if let Some(own) = caller.confined_to()
        && *fields.user_id.get_or_insert(own) != own
    {
        return Err(NOT_YOURS);
    }
    Ok(fields)
}

/// An error that names the user or the category, or both, that the task refers to and that don't
/// exist.
pub(super) async fn missing(
    state: &AppState,
    user_id: Option<i64>,
    category_id: Option<i64>,
) -> ApiError {
    let looked_up = async {
        let mut connection = state.store.connection().await?;
        tasks::missing_owners(&mut connection, user_id, category_id).await
    };
    let (user, category) = match looked_up.await {
        Ok(missing) => missing,
        Err(error) => return error.into(),
    };
    let fault = |id: Option<i64>, absent: bool, name, what| {
        let id = id.filter(|_| absent)?;
        let message = format!("must be the id of a {what}: there is no {what} {id}");
        Some(Fault::new(RequestPart::Body, name, message))
    };
    let user = fault(user_id, user, "userId", "user");
    let category = fault(category_id, category, "categoryId", "category");
    let faults: Vec<Fault> = user.into_iter().chain(category).collect();
    // Whatever was missing a moment ago has been made since: the same request will work.
    if faults.is_empty() { ApiError::WriteConflict } else { ApiError::Validation(faults) }
}
