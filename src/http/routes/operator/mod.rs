//! Dead letters over HTTP, for admins. The user who runs the process has the `socket` instead.

pub mod socket;

use actix_web::dev::Payload;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::dead_letters::{DeadLetters, Order};
use crate::http::describe::{OPERATION, answer, problem};
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::body::members;
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

/// An order, parsed as strictly and with the same limits as every other body.
pub(in crate::http) struct Ordered(Order);

impl FromRequest for Ordered {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Ordered, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let members = members(request, payload, &["application/json"]);
        Box::pin(async move {
            let order = serde_json::from_value(Value::Object(members.await?));
            order.map(Ordered).map_err(|error| {
                let message = format!("is no order: {error}");
                let fault = Fault { r#in: RequestPart::Body, pointer: String::new(), message };
                ApiError::Validation(vec![fault])
            })
        })
    }
}

pub(in crate::http) async fn obey(
    letters: Data<DeadLetters>,
    order: Ordered,
) -> Result<impl Responder, ApiError> {
    letters.obey(order.0).await.map(|answer| HttpResponse::Ok().json(answer)).map_err(|error| {
        tracing::warn!(%error, "answering 503");
        ApiError::Unavailable
    })
}
