//! `/dead-letters`: listed and grouped, for admins and viewers; replayed by plan, edited and
//! discarded, for admins. The user who runs the process has the [`socket`](super::socket) instead.

mod docs;
mod orders;

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::OperatorOf;
use crate::access::Caller;
use crate::dead_letters::{DeadLetters, DiscardOrder, EditOrder, ReplayOrder};
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::body::Body;
use crate::http::extract::fields::Params;
use crate::http::extract::paging::{self, read_id};
use crate::http::route::{Need, Route};
use crate::http::{AppState, to_the_end};
use crate::operate::OrderError;
use orders::{EditBody, GroupParams, LetterParams};

/// The routes of dead letters. Those with a fixed path come first.
pub(in crate::http) static ROUTES: &[Route] = &[
    Route::plain_get("/dead-letters", Need::Operation, || web::route().to(list), docs::list)
        .says(
            "Messages that could not be processed, as the database keeps them with body, headers, \
            reason and history; open ones if `state` says nothing else.",
        )
        .reads_parameters(),
    Route::plain_get(
        "/dead-letters/groups",
        Need::Operation,
        || web::route().to(groups),
        docs::groups,
    )
    .says(
        "Open dead letters by cause: effect, type and error with its numbers and ids taken \
            out. Since when, how many, and an example of each.",
    )
    .reads_parameters(),
    Route::plain_get(REPLAYS, Need::Operation, || web::route().to(replays), docs::replays)
        .says("The latest replays, newest first, each with its plan and how far it has come."),
    Route::plain_post(REPLAYS, Need::Admin, || web::route().to(replay), docs::replay).says(
        "Chooses dead letters and makes a plan to send them again: some first as a canary, \
            then the others at a rate, until too many fail again. With `dryRun` it says what \
            would happen, and nothing is made.",
    ),
    Route::plain_post(
        "/dead-letters/discard",
        Need::Admin,
        || web::route().to(discard),
        docs::discard,
    )
    .says(
        "Gives up dead letters for good, with a reason for the record. They can be read until \
            they are purged, and can't be replayed any more. With `dryRun` it says how many that \
            would be.",
    ),
    Route::plain_get(
        "/dead-letters/replays/{replayId}",
        Need::Operation,
        || web::route().to(progress),
        docs::progress,
    )
    .says(
        "A replay's plan, and how many of its letters wait, were sent, are done or have \
            failed again. Done means that their effects are done, not that they were sent.",
    ),
    Route::plain_post(
        "/dead-letters/replays/{replayId}/stop",
        Need::Admin,
        || web::route().to(stop),
        docs::stop,
    )
    .says(
        "Sends no further letter. What was sent already is processed; the others are open \
            again, or wait for the replay to go on.",
    ),
    Route::plain_post(
        "/dead-letters/replays/{replayId}/resume",
        Need::Admin,
        || web::route().to(resume),
        docs::resume,
    )
    .says("Lets a replay that was stopped send the letters that still wait."),
    Route::plain_get(
        "/dead-letters/{letterId}",
        Need::Operation,
        || web::route().to(show),
        docs::show,
    )
    .says("A dead letter with its message, its headers and each failed attempt."),
    Route::plain_post(
        "/dead-letters/{letterId}/edit",
        Need::Admin,
        || web::route().to(edit),
        docs::edit,
    )
    .says(
        "Checks a corrected payload by the schema of its type and sends it as a new event \
            that refers to the old one, for the effects that failed. The letter is then \
            `replaced`.",
    ),
];

const REPLAYS: &str = "/dead-letters/replays";

/// How many replays are listed.
const MOST_REPLAYS: i64 = 100;

fn letters(state: &AppState) -> DeadLetters {
    DeadLetters::new(state.store.clone()).of_types(state.common.event_types.clone())
}

async fn list(
    state: Data<AppState>,
    params: Params<LetterParams>,
) -> Result<HttpResponse, ApiError> {
    let LetterParams { state: wanted, filter, after, limit } = params.0;
    let rows = paging::rows(limit);
    let page =
        letters(&state).list(wanted.as_str(), &filter, after, rows).await.map_err(refused)?;
    let place = |letter: &crate::dead_letters::DeadLetter| (letter.died_at, letter.id.clone());
    let (data, next) = paging::page(page.letters, rows, place);
    Ok(HttpResponse::Ok().json(json!({ "data": data, "nextCursor": next, "total": page.total })))
}

async fn groups(
    state: Data<AppState>,
    params: Params<GroupParams>,
) -> Result<HttpResponse, ApiError> {
    let GroupParams { group, limit } = params.0;
    let groups = letters(&state).groups(group.as_deref(), limit).await.map_err(refused)?;
    Ok(HttpResponse::Ok().json(json!({ "data": groups })))
}

async fn show(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = request.match_info().query("letterId").to_owned();
    let mut report = letters(&state).show(&[id]).await.map_err(refused)?;
    let letter = report.letters.pop().ok_or(ApiError::NotFound("dead letter"))?;
    Ok(HttpResponse::Ok().json(letter))
}

async fn replays(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let replays = letters(&state).replays(MOST_REPLAYS).await.map_err(refused)?;
    Ok(HttpResponse::Ok().json(json!({ "data": replays })))
}

async fn replay(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    order: Body<ReplayOrder>,
) -> Result<HttpResponse, ApiError> {
    let answer = to_the_end(&state.clone(), caller.user_id(), async move {
        letters(&state).replay(&order.0, &by.0).await.map_err(refused)
    })
    .await?;
    let made = answer.replay.is_some();
    let mut response = if made { HttpResponse::Created() } else { HttpResponse::Ok() };
    if let Some(replay) = &answer.replay {
        response.insert_header(("location", format!("{REPLAYS}/{}", replay.id)));
    }
    Ok(response.json(answer))
}

async fn progress(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let replay = letters(&state).progress(replay_id(&request)?).await.map_err(refused)?;
    Ok(HttpResponse::Ok().json(replay))
}

async fn stop(
    state: Data<AppState>,
    request: HttpRequest,
    by: OperatorOf,
) -> Result<HttpResponse, ApiError> {
    let replay = letters(&state).stop(replay_id(&request)?, &by.0).await.map_err(refused)?;
    Ok(HttpResponse::Ok().json(replay))
}

async fn resume(
    state: Data<AppState>,
    request: HttpRequest,
    by: OperatorOf,
) -> Result<HttpResponse, ApiError> {
    let replay = letters(&state).resume(replay_id(&request)?, &by.0).await.map_err(refused)?;
    Ok(HttpResponse::Ok().json(replay))
}

async fn discard(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    order: Body<DiscardOrder>,
) -> Result<HttpResponse, ApiError> {
    let discarded = to_the_end(&state.clone(), caller.user_id(), async move {
        letters(&state).discard(&order.0, &by.0).await.map_err(refused)
    })
    .await?;
    Ok(HttpResponse::Ok().json(discarded))
}

async fn edit(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    by: OperatorOf,
    body: Body<EditBody>,
) -> Result<HttpResponse, ApiError> {
    let EditBody { payload, dry_run } = body.0;
    let order =
        EditOrder { id: request.match_info().query("letterId").to_owned(), payload, dry_run };
    let edited = to_the_end(&state.clone(), caller.user_id(), async move {
        let edited = letters(&state).edit(&order, &by.0).await.map_err(refused)?;
        if edited.event_id.is_some() {
            state.written(1, Vec::new()).await;
        }
        Ok(edited)
    })
    .await?;
    Ok(HttpResponse::Ok().json(edited))
}

fn replay_id(request: &HttpRequest) -> Result<i64, ApiError> {
    read_id(request.match_info().query("replayId")).ok_or_else(|| {
        let message = "must be a whole number from 1";
        ApiError::Validation(vec![Fault::new(RequestPart::Path, "replayId", message)])
    })
}

fn refused(error: OrderError) -> ApiError {
    match error {
        OrderError::Invalid { field, problem } => {
            ApiError::Validation(vec![Fault::new(RequestPart::Body, field, problem)])
        }
        OrderError::Missing(what) if what.starts_with("replay") => ApiError::NotFound("replay"),
        OrderError::Missing(_) => ApiError::NotFound("open dead letter"),
        error @ (OrderError::NotShown(_) | OrderError::Refused(_)) => {
            tracing::error!(%error, "answering 500");
            ApiError::Internal
        }
        OrderError::Store(error) => error.into(),
    }
}
