//! `/overview`: whether all works; if not, what is wrong and what helps. For admins and viewers.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::{Value, json};

use crate::broker::QueueWatch;
use crate::http::AppState;
use crate::http::describe::{answer, for_viewers, schema};
use crate::http::extract::fields::{Fields, FromFields, Params};
use crate::http::extract::paging::read_id;
use crate::http::route::{Need, Route};
use crate::http::routes::health::HealthSources;
use crate::operate::doctor::Patient;
use crate::operate::overview::{self, MOST_MINUTES};

/// The route of the overview.
pub(in crate::http) static ROUTES: &[Route] =
    &[Route::plain_get("/overview", Need::Operation, || web::route().to(look), operation)
        .says(
            "One answer for whoever is paged: whether all works, what is wrong with the worst \
            first and what helps, rates by minute, the outbox, queues, effects and processes.",
        )
        .reads_parameters()];

/// How many minutes the history has if nothing is said.
const USUAL_MINUTES: u16 = 60;
/// How long the broker may take to tell of its queues: what comes later is there the next time.
const BROKERS_PATIENCE: Duration = Duration::from_millis(250);

fn operation() -> Option<Value> {
    let more = json!({ "parameters": [{
        "name": "minutes", "in": "query",
        "description": "For how many minutes the history is wanted.",
        "schema": { "type": "integer", "minimum": 1, "maximum": MOST_MINUTES, "default": USUAL_MINUTES },
        "example": 60,
    }] });
    let summary = "Whether all works; if not, what is wrong, worst first, and what helps";
    let found = "What was found, also while a dependency is away";
    for_viewers("getOverview", summary, more, answer(found, "application/json", schema("Overview")))
}

struct OverviewParams {
    minutes: u16,
}

impl FromFields for OverviewParams {
    fn from_fields(fields: &mut Fields) -> OverviewParams {
        let expected = format_args!("a whole number from 1 to {MOST_MINUTES}");
        let minutes = fields.parameter("minutes", expected, |text| {
            read_id(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n <= MOST_MINUTES)
        });
        OverviewParams { minutes: minutes.unwrap_or(USUAL_MINUTES) }
    }
}

async fn look(
    state: Data<AppState>,
    sources: Data<HealthSources>,
    params: Params<OverviewParams>,
) -> HttpResponse {
    let HealthSources { queues, broker, metrics, .. } = sources.get_ref();
    let told = QueueWatch::report(queues, broker, metrics, BROKERS_PATIENCE).await;
    let patient = Patient { store: state.store.clone(), embedded: state.common.embedded };
    let found = overview::look(&patient, told, broker.system(), params.0.minutes).await;
    HttpResponse::Ok().json(found)
}
