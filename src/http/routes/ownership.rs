//! Whose a task may be, and who may see it.

use crate::access::Caller;
use crate::domain::task::{Task, TaskFields};
use crate::http::State;
use crate::http::error::{ApiError, Fault, Place};
use crate::store::tasks;

/// Others' tasks are not there at all for a member.
pub(super) fn visible(caller: Caller, found: Option<Task>) -> Result<Task, ApiError> {
    found.filter(|task| caller.sees(task.user_id)).ok_or(ApiError::NotFound("task"))
}

/// Part of the key of what is cached: two who share it see the same.
pub(super) fn seen_by(caller: Caller) -> String {
    caller.confined_to().map_or("all".to_owned(), |user| format!("user:{user}"))
}

pub(super) const NOT_YOURS: ApiError =
    ApiError::Forbidden("a member's tasks are its own: userId must be yours");

/// What a member writes is its own task, also where it doesn't say so.
pub(super) fn owned(caller: Caller, mut fields: TaskFields) -> Result<TaskFields, ApiError> {
    if let Some(own) = caller.confined_to()
        && *fields.user_id.get_or_insert(own) != own
    {
        return Err(NOT_YOURS);
    }
    Ok(fields)
}

/// Which of a task's owners don't exist, as an error that names each.
pub(super) async fn missing(
    state: &State,
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
    let fault = |absent: bool, name, what| {
        absent.then(|| Fault::new(Place::Body, name, format!("there is no such {what}")))
    };
    let faults: Vec<Fault> =
        [fault(user, "userId", "user"), fault(category, "categoryId", "category")]
            .into_iter()
            .flatten()
            .collect();
    // Whatever was missing a moment ago has been made since: the same request will work.
    if faults.is_empty() { ApiError::WriteConflict } else { ApiError::Validation(faults) }
}
