//! `/doctor` and `/configuration`: what is wrong with this process and what it depends on, and what
//! it is configured with; for admins and viewers.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use crate::http::AppState;
use crate::http::describe::{answer, for_viewers, schema};
use crate::http::error::ApiError;
use crate::http::route::{Need, Route};
use crate::operate::doctor::Patient;

/// The routes.
pub(in crate::http) static ROUTES: &[Route] = &[
    Route::plain_get(
        "/doctor",
        Need::Operation,
        || web::route().to(examine),
        || {
            let summary =
                "What is wrong with this process and what it depends on, and what mends it";
            let found = "The report of `taskd doctor --json`, without a canary";
            for_viewers(
                "examine",
                summary,
                json!({}),
                answer(found, "application/json", schema("Examination")),
            )
        },
    )
    .says(
        "Examines the configuration, the database, the broker, the cache and the mail server \
            from inside this process. Each finding names what it is about and the command that \
            mends it.",
    ),
    Route::plain_get(
        "/configuration",
        Need::Operation,
        || web::route().to(configuration),
        || {
            let summary = "Every variable that this process reads, with its source; no secrets";
            let ok = answer("The variables", "application/json", schema("Configuration"));
            for_viewers("getConfiguration", summary, json!({}), ok)
        },
    )
    .says(
        "The variables of this process with their values and whether each comes from the \
            environment, `.env`, a flag or a default. What may hold a password is not shown.",
    ),
];

async fn examine(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let patient = Patient { store: state.store.clone(), embedded: state.common.embedded };
    let report = state.common.examination.run(patient).await.ok_or(ApiError::Unavailable)?;
    Ok(HttpResponse::Ok().json(report.as_ref()))
}

async fn configuration(state: Data<AppState>) -> HttpResponse {
    let known = state.common.examination.configuration();
    HttpResponse::Ok().json(json!({
        "role": known.role, "version": env!("CARGO_PKG_VERSION"), "data": known.own,
    }))
}
