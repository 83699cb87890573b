//! `/tasks/{id}/activity`.

use actix_web::web::Data;
use paperclip::actix::{api_v2_operation, web};
use serde_json::Value;
use uuid::Uuid;

use crate::access::Caller;
use crate::effects::mail_states;
use crate::http::AppState;
use crate::http::dto::ActivityPage;
use crate::http::error::ApiError;
use crate::http::extract::fields::Params;
use crate::http::extract::ids::Id;
use crate::http::extract::paging::{ActivityParams, rows};
use crate::http::response::JsonResponse;
use crate::http::route::{Need, Route};
use crate::store::{activity, tasks};

/// The route of a task's activity.
pub(super) static ROUTES: &[Route] =
    &[Route::get("/tasks/{id}/activity", Need::Token, || web::Route::new().to(list))
        .says(
            "The task's history, newest first, as the worker wrote it down: each event once, with \
            what changed and what became of its mail. It outlives the task.",
        )
        .reads_parameters()];

#[api_v2_operation(
    operation_id = "listTaskActivity",
    tags("tasks"),
    summary = "What happened to a task"
)]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    params: Params<ActivityParams>,
) -> Result<JsonResponse<ActivityPage>, ApiError> {
    let (id, params) = (id.0, params.0);
    let limit = rows(params.limit);
    let mut connection = state.store.connection().await?;
    // The owner of a deleted task is not known, so its log is for admins. If the task belonged to
    // another user before, a member sees only what has happened since it became theirs.
    let since = match caller.confined_to() {
        None => FROM_THE_BEGINNING,
        own => match activity::owned_since(&mut connection, id).await? {
            Some((owner, since)) if owner == own => since,
            _ => return Err(ApiError::NotFound("task")),
        },
    };
    let mut entries = activity::list(&mut connection, id, since, params.before, limit).await?;
    if since > FROM_THE_BEGINNING {
        let handed_over = entries.iter_mut().filter(|entry| entry.task_version == since);
        handed_over.for_each(|entry| forget_what_was(&mut entry.changes));
    }
    // The log outlives its task. Only if there is no log either has the task never existed.
    if entries.is_empty()
        && params.before.is_none()
        && tasks::find(&mut connection, id).await?.is_none()
    {
        return Err(ApiError::NotFound("task"));
    }
    let total = match params.total {
        Some(true) => Some(activity::count(&mut connection, id, since).await?),
        _ => None,
    };
    let events: Vec<Uuid> = entries.iter().map(|entry| entry.event_id).collect();
    let mut mails = mail_states(&mut connection, &events).await?;
    let with_mail = |entry: activity::Entry| {
        let mail = mails.remove(&entry.event_id);
        (entry, mail)
    };
    let entries: Vec<_> = entries.into_iter().map(with_mail).collect();
    let place = |(entry, _): &(activity::Entry, _)| (entry.task_version, entry.id);
    Ok(JsonResponse::ok(&ActivityPage::of(entries, limit, place, total)))
}

/// A task belongs to its first user from this version on.
const FROM_THE_BEGINNING: i64 = 1;

/// Removes the earlier values from the change that gave the task to another user.
fn forget_what_was(changes: &mut Option<Value>) {
    let fields = changes.as_mut().and_then(Value::as_object_mut);
    for change in fields.into_iter().flat_map(|fields| fields.values_mut()) {
        change["from"] = Value::Null;
    }
}
