//! Dead letters over HTTP, for admins. The user who runs the process has the `socket` instead.

pub mod events;
pub mod socket;

use actix_web::web::{self, Data};
use actix_web::{HttpResponse, Responder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dead_letters::{DeadLetters, Order, Selection};
use crate::http::describe::{OPERATION, answer, problem};
use crate::http::error::ApiError;
use crate::http::extract::body::Body;
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::extract::words::Expected;
use crate::http::route::{Need, Route};

/// The path to which `taskd dlq` posts its orders.
pub const PATH: &str = "/operator/dead-letters";

/// The route of orders. It uses the [`DeadLetters`] in the app's data.
pub(super) static ROUTES: &[Route] =
    &[Route::plain_post(PATH, Need::Admin, || web::route().to(obey), || Some(operation()))];

fn operation() -> Value {
    json!({
        "operationId": "orderDeadLetters", "tags": [OPERATION],
        "summary": "What `taskd dlq` does, for admins",
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object", "required": ["action"], "additionalProperties": false,
            "properties": {
                "action": { "type": "string", "enum": ["list", "show", "replay", "discard"], "example": "list" },
                "limit": {
                    "type": "integer", "minimum": 0, "example": 20,
                    "description": "With `list`: how many at most.",
                },
                "selection": {
                    "description": "With the others: `\"all\"`, or `{ \"ids\": [ … ] }` with ids of letters or \
                                    of their events.",
                },
            },
            "example": { "action": "list", "limit": 20 },
        } } } },
        "responses": {
            "200": answer("What was done", "application/json", json!({})),
            "400": problem("The request is not valid"),
            "401": problem("A token is needed, or the token is not valid"),
            "403": problem("This is for admins"),
            "503": problem("The broker is away"),
        },
    })
}

/// What is to be done with the letters.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    List,
    Show,
    Replay,
    Discard,
    /// The member is missing or wrong.
    #[default]
    #[serde(skip)]
    Unclear,
}

impl Expected for Action {
    fn expected() -> String {
        "one of list, show, replay, discard".to_owned()
    }
}

impl FromFields for Order {
    fn from_fields(fields: &mut Fields) -> Order {
        match fields.required("action") {
            Action::List => Order::List { limit: fields.required("limit") },
            Action::Show => Order::Show { selection: selection(fields) },
            Action::Replay => Order::Replay { selection: selection(fields) },
            Action::Discard => Order::Discard { selection: selection(fields) },
            Action::Unclear => {
                // What belongs to any action may be right.
                fields.unchecked("limit");
                fields.unchecked("selection");
                Order::List { limit: 0 }
            }
        }
    }
}

fn selection(fields: &mut Fields) -> Selection {
    const NAME: &str = "selection";
    let message = match fields.unchecked(NAME).map(serde_json::from_value) {
        Some(Ok(selection)) => return selection,
        Some(Err(_)) => {
            "must be \"all\", or { \"ids\": [ … ] } with ids of letters or of their events"
        }
        None => "is required",
    };
    fields.fault(NAME, message);
    Selection::Ids(Vec::new())
}

pub(in crate::http) async fn obey(
    letters: Data<DeadLetters>,
    order: Body<Order>,
) -> Result<impl Responder, ApiError> {
    letters.obey(order.0).await.map(|answer| HttpResponse::Ok().json(answer)).map_err(|error| {
        tracing::warn!(%error, "answering 503");
        ApiError::Unavailable
    })
}
