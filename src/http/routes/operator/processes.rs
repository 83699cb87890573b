//! `/processes`: who is there; for admins.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::describe::{OPERATION, answer, problem};
use crate::http::error::ApiError;
use crate::http::route::{Need, Route};
use crate::operate::presence;

/// The route of the processes.
pub(in crate::http) static ROUTES: &[Route] =
    &[Route::plain_get("/processes", Need::Admin, || web::route().to(list), || Some(operation()))];

fn operation() -> Value {
    json!({
        "operationId": "listProcesses", "tags": [OPERATION],
        "summary": "Which processes serve and work, and whether one is missing; for admins",
        "responses": {
            "200": answer("The processes, and what needs somebody", "application/json", json!({})),
            "401": problem("A token is needed, or the token is not valid"),
            "403": problem("This is for admins"),
            "503": problem("The database is away"),
        },
    })
}

async fn list(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let listed = presence::list(&mut *state.store.connection().await?).await?;
    Ok(HttpResponse::Ok().json(listed))
}
