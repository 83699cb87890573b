//! Changes a task that others may be changing as well.

use actix_web::web::Data;
use chrono::Utc;

use crate::access::Caller;
use crate::cache::Scope;
use crate::domain::task::{Task, TaskFields, events};
use crate::http::error::ApiError;
use crate::http::extract::preconditions::Preconditions;
use crate::http::request_id::RequestId;
use crate::http::response::JsonResponse;
use crate::http::routes::ownership::{missing, visible};
use crate::http::{AppState, to_the_end};
use crate::store::{Conflicts, StoreError, tasks};

/// What a change of this task makes stale.
pub(super) fn scopes(id: i64) -> Vec<Scope> {
    vec![Scope::TaskLists, Scope::Task(id)]
}

/// Of n writers that compete for a task, each round lets one through. So this many may compete.
pub(super) const MOST_TRIES: usize = 200;

/// Reads a task, decides on the change, and writes it. If another update came first, it starts
/// over. The preconditions are checked against each version that is read, so a request with
/// `If-Match` fails once another update came first. Returns the version that was replaced, and the
/// answer.
pub(super) async fn update(
    state: Data<AppState>,
    caller: Caller,
    id: i64,
    preconditions: Preconditions,
    decide: impl Fn(&Task) -> Result<TaskFields, ApiError> + Send + Sync + 'static,
) -> Result<(Task, JsonResponse<Task>), ApiError> {
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut conflicts = Conflicts::default();
        for _ in 0..MOST_TRIES {
            let mut connection = state.store.connection().await?;
            let before = visible(caller, tasks::find(&mut connection, id).await?)?;
            preconditions.of_write(before.version)?;
            let Some(after) = before.update(decide(&before)?, Utc::now()) else {
                let answer = JsonResponse::ok(&before).tagged(before.version);
                return Ok((before, answer));
            };
            let event = events::updated(&before, &after, RequestId::origin(&caller));
            let (write, ticket) = ([(after.clone(), event)], state.common.publisher.ticket(1));
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
            return Ok((before, JsonResponse::ok(&after).tagged(after.version)));
        }
        Err(ApiError::WriteConflict)
    })
    .await
}
