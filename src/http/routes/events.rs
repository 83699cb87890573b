//! `/events`, for operators: events, and what became of them. A payload contains what users wrote,
//! so all of it is for admins and viewers, and nothing is cached.

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use paperclip::actix::{Apiv2Schema, OperationModifier, api_v2_operation, web};
use paperclip::v2::models::DefaultOperationRaw;
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::catalog;
use crate::domain::processing::state::EventState;
use crate::http::AppState;
use crate::http::dto::{EventDetailView, EventPage};
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::fields::{Fields, FromFields, Params};
use crate::http::extract::moment::moment;
use crate::http::extract::paging::{cursor, limit, read_id, rows, total};
use crate::http::response::JsonResponse;
use crate::http::route::{Need, Route};
use crate::operate::story::story;
use crate::store::events::{self, EventQuery};

/// The routes of events.
pub(super) static ROUTES: &[Route] = &[
    Route::get("/events", Need::Operation, || web::Route::new().to(list))
        .says(
            "What changes of tasks became, newest first. `state` finds what is not done: \
            `unpublished`, `queued`, `retrying`, `parked` or `dead`.",
        )
        .reads_parameters(),
    Route::get("/events/{eventId}", Need::Operation, || web::Route::new().to(get)).says(
        "An event with its story: published, each attempt and its failure, waits, death and \
            replays, the effects that are done, and in `whyNotDone` what stands in the way.",
    ),
];

#[api_v2_operation(
    operation_id = "listEvents",
    tags("events"),
    summary = "List events, newest first; for admins and viewers"
)]
pub async fn list(
    state: Data<AppState>,
    params: Params<EventParams>,
) -> Result<JsonResponse<EventPage>, ApiError> {
    let params = params.0;
    let (query, limit) = (&params.query, rows(params.limit));
    let mut connection = state.store.connection().await?;
    let found = events::list(&mut connection, query, params.before, limit).await?;
    let total = match params.total {
        Some(true) => Some(events::count(&mut connection, query).await?),
        _ => None,
    };
    Ok(JsonResponse::ok(&EventPage::of(found, limit, |event| event.id, total)))
}

#[api_v2_operation(
    operation_id = "getEvent",
    tags("events"),
    summary = "Get an event and what became of it; for admins and viewers"
)]
pub async fn get(
    state: Data<AppState>,
    id: EventId,
) -> Result<JsonResponse<EventDetailView>, ApiError> {
    let mut connection = state.store.connection().await?;
    let found = story(&mut connection, id.0).await?.ok_or(ApiError::NotFound("event"))?;
    Ok(JsonResponse::ok(&EventDetailView::of(found)))
}

/// The parameters of `GET /events`.
#[derive(Debug, Clone, Apiv2Schema, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "some fields are there for the description alone")]
pub struct EventParams {
    /// How many rows the page has at most.
    limit: Option<i64>,
    /// Where to go on: `nextCursor` of the page before.
    cursor: Option<String>,
    /// Whether to count the rows of all pages.
    total: Option<bool>,
    /// Only events of this task.
    task_id: Option<i64>,
    /// Only events of this type.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Only events that the broker has confirmed, or only those that wait.
    published: Option<bool>,
    /// Only events in this state: `unpublished`, `queued`, `retrying`, `parked`, `dead` or `done`.
    state: Option<String>,
    /// Only events that have occurred since this time (RFC 3339).
    since: Option<String>,
    /// What all this means.
    #[openapi(skip)]
    #[serde(skip)]
    query: EventQuery,
    /// The place that the cursor means.
    #[openapi(skip)]
    #[serde(skip)]
    before: Option<Uuid>,
}

impl FromFields for EventParams {
    fn from_fields(fields: &mut Fields) -> EventParams {
        let types = catalog::built_in();
        let names: Vec<&str> = types.iter().map(|known| known.name).collect();
        let query = EventQuery {
            task_id: fields.parameter("taskId", "a whole number from 1", read_id),
            event_type: fields.parameter(
                "type",
                format_args!("one of {}", names.join(", ")),
                |name| types.find(name),
            ),
            published: fields.parameter("published", "true or false", |text| text.parse().ok()),
            state: fields.parameter(
                "state",
                format_args!("one of {}", EventState::ALL.map(EventState::as_str).join(", ")),
                EventState::from_name,
            ),
            since: fields.parameter("since", "an RFC 3339 time", moment),
        };
        EventParams {
            limit: limit(fields),
            cursor: None,
            total: total(fields),
            task_id: None,
            event_type: None,
            published: None,
            state: None,
            since: None,
            query,
            before: cursor(fields, |_: &Uuid| true),
        }
    }
}

/// The `{eventId}` in a path.
pub struct EventId(Uuid);

impl FromRequest for EventId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("eventId").unwrap_or_default();
        // The crate would accept other forms too, such as one in braces.
        let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
        let id = Uuid::parse_str(text).ok().filter(|_| hyphenated);
        ready(id.map(EventId).ok_or_else(|| {
            let message = "must be a UUID such as 01a20c26-baf3-7396-8c9e-8c32b8533154";
            ApiError::Validation(vec![Fault::new(RequestPart::Path, "eventId", message)])
        }))
    }
}

#[derive(Apiv2Schema, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described")]
struct EventIdPath {
    /// The event's id.
    event_id: String,
}

impl paperclip::v2::schema::Apiv2Schema for EventId {}
impl OperationModifier for EventId {
    fn update_parameter(operation: &mut DefaultOperationRaw) {
        <actix_web::web::Path<EventIdPath> as OperationModifier>::update_parameter(operation);
    }
}
