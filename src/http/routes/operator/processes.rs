//! `/processes`: who is there; for admins and viewers.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::describe::{answer, for_viewers, schema};
use crate::http::error::ApiError;
use crate::http::route::{Need, Route};
use crate::operate::presence;

/// The route of the processes.
pub(in crate::http) static ROUTES: &[Route] =
    &[Route::plain_get("/processes", Need::Operation, || web::route().to(list), operation).says(
        "Who is there: role, name, version, since when, and what each has in hand; and what \
            is missing, such as a worker that consumes.",
    )];

fn operation() -> Option<Value> {
    let summary = "Which processes serve and work, and whether one is missing";
    let ok =
        answer("The processes, and what needs somebody", "application/json", schema("Processes"));
    for_viewers("listProcesses", summary, json!({}), ok)
}

async fn list(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let listed = presence::list(&mut *state.store.connection().await?).await?;
    Ok(HttpResponse::Ok().json(listed))
}
