//! `/effects`: which effects run, which are paused or held, and how to change that. Viewers look,
//! admins change.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::OperatorOf;
use crate::access::Caller;
use crate::gates::{EffectOrder, EffectView};
use crate::http::describe::{answer, for_admins, for_viewers, problem, schema};
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::body::OptionalBody;
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::route::{Need, Route};
use crate::http::{AppState, to_the_end};
use crate::operate::{Operator, OrderError};

/// The routes of effects.
pub(in crate::http) static ROUTES: &[Route] = &[
    Route::plain_get(
        "/effects",
        Need::Operation,
        || web::route().to(list),
        || {
            operation(
                "listEffects",
                "Which effects run, are paused, or are held by their breaker",
                None,
            )
        },
    )
    .says(
        "Each effect with its pause and who ordered it, its breaker and the error that opened \
            it, its limits, and how many messages are parked for it.",
    ),
    Route::plain_post(
        "/effects/{name}/pause",
        Need::Admin,
        || web::route().to(pause),
        || {
            let reason = json!({ "type": "string", "description": "Why, for others to read." });
            let summary = "Keeps an effect from running; its messages are parked";
            operation(
                "pauseEffect",
                summary,
                Some(json!({ "reason": reason, "dryRun": dry_run() })),
            )
        },
    )
    .says(
        "In force in every worker within two seconds. Other effects of an event go on; \
            messages whose turn it was are parked in the database and come back when the pause \
            ends.",
    ),
    Route::plain_post(
        "/effects/{name}/resume",
        Need::Admin,
        || web::route().to(resume),
        || {
            let summary =
                "Ends the pause of an effect and closes its breaker; what is parked comes back";
            operation("resumeEffect", summary, Some(json!({ "dryRun": dry_run() })))
        },
    )
    .says(
        "Ends the pause and closes the breaker, so that what is parked comes back. With \
            `dryRun` it says how many that would be.",
    ),
];

fn dry_run() -> Value {
    json!({ "type": "boolean", "description": "Whether to change nothing." })
}

fn operation(id: &str, summary: &str, body: Option<Value>) -> Option<Value> {
    let more = body.map_or_else(Value::default, |properties| {
        json!({
            "parameters": [{ "name": "name", "in": "path", "required": true,
                             "schema": { "type": "string" }, "example": "email" }],
            "requestBody": { "content": { "application/json": { "schema": {
                "type": "object", "additionalProperties": false, "properties": properties,
            } } } },
        })
    });
    let is_list = more.is_null();
    let (found, name) =
        if is_list { ("The effects", "EffectGates") } else { ("The effect", "EffectGate") };
    let ok = answer(found, "application/json", schema(name));
    let describe = if is_list { for_viewers } else { for_admins };
    let mut operation = describe(id, summary, more, ok)?;
    operation["responses"]["404"] = problem("There is no such effect");
    Some(operation)
}

/// The body of an order, which may be missing.
struct OrderBody {
    reason: Option<String>,
    dry_run: bool,
}

impl FromFields for OrderBody {
    fn from_fields(fields: &mut Fields) -> OrderBody {
        OrderBody {
            reason: fields.optional("reason"),
            dry_run: fields.optional("dryRun").unwrap_or(false),
        }
    }
}

/// The body of an order to resume.
struct ResumeBody {
    dry_run: bool,
}

impl FromFields for ResumeBody {
    fn from_fields(fields: &mut Fields) -> ResumeBody {
        ResumeBody { dry_run: fields.optional("dryRun").unwrap_or(false) }
    }
}

async fn list(state: Data<AppState>, by: OperatorOf) -> Result<HttpResponse, ApiError> {
    let effects = obey(&state, EffectOrder::List, &by.0).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": effects })))
}

async fn pause(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    by: OperatorOf,
    body: OptionalBody<OrderBody>,
) -> Result<HttpResponse, ApiError> {
    let OrderBody { reason, dry_run } = body.0;
    let effect = request.match_info().query("name").to_owned();
    one(state, caller, by, EffectOrder::Pause { effect, reason, dry_run }).await
}

async fn resume(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    by: OperatorOf,
    body: OptionalBody<ResumeBody>,
) -> Result<HttpResponse, ApiError> {
    let effect = request.match_info().query("name").to_owned();
    one(state, caller, by, EffectOrder::Resume { effect, dry_run: body.0.dry_run }).await
}

/// Carries out an order about one effect, to its end.
async fn one(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    order: EffectOrder,
) -> Result<HttpResponse, ApiError> {
    let mut effects =
        to_the_end(
            &state.clone(),
            caller.user_id(),
            async move { obey(&state, order, &by.0).await },
        )
        .await?;
    let effect = effects.pop().ok_or(ApiError::NotFound("effect"))?;
    Ok(HttpResponse::Ok().json(effect))
}

async fn obey(
    state: &AppState,
    order: EffectOrder,
    by: &Operator,
) -> Result<Vec<EffectView>, ApiError> {
    let mut connection = state.store.connection().await?;
    order.obey(&mut connection, by).await.map_err(|error| match error {
        OrderError::Invalid { field, problem } => {
            ApiError::Validation(vec![Fault::new(RequestPart::Body, field, problem)])
        }
        OrderError::Store(error) => error.into(),
        OrderError::Missing(_) | OrderError::NotShown(_) | OrderError::Refused(_) => {
            ApiError::NotFound("effect")
        }
    })
}
