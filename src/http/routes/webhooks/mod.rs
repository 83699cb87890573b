//! `/webhooks`: endpoints that are told of events, and what is delivered to each. Users manage
//! their own, admins all.

mod bodies;
mod deliveries;
mod docs;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use self::bodies::{ChangedWebhook, NewWebhook};
use crate::access::Caller;
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::body::Body;
use crate::http::extract::fields::Params;
use crate::http::extract::idempotency_key::IdempotentBody;
use crate::http::extract::ids::Id;
use crate::http::extract::paging::{self, ListParams};
use crate::http::response::{Created, Deleted, JsonResponse};
use crate::http::route::{Need, Route};
use crate::http::routes::operator::OperatorOf;
use crate::http::{AppState, to_the_end};
use crate::store::{Connection, StoreError, transaction, unless_in_conflict};
use crate::webhooks::orders::{WebhookError, WebhookView, Whose, within};

/// The routes of webhooks.
pub(super) static ROUTES: &[Route] = &[
    Route::plain_get("/webhooks", Need::Token, || web::route().to(list), docs::list)
        .says("Your webhooks, or those of all to admins and viewers, without their secrets.")
        .reads_parameters(),
    Route::plain_post("/webhooks", Need::Token, || web::route().to(create), docs::create)
        .says(
            "From now on the endpoint is told each event that you may see and that it asks for, signed \
            as Standard Webhooks. The secret is shown once, in this answer.",
        )
        .keeps_answer()
        .fails_with(|| vec![ApiError::TooManyWebhooks, ApiError::NoSecretKey("")]),
    Route::plain_get("/webhooks/{id}", Need::Token, || web::route().to(show), docs::show)
        .says("One webhook, without its secret."),
    Route::plain_patch("/webhooks/{id}", Need::Token, || web::route().to(change), docs::change).says(
        "Changes the members that are named (RFC 7396). One that is enabled again is told what \
            happens from then on; `replay-history` fills the gap.",
    ),
    Route::plain_delete("/webhooks/{id}", Need::Token, || web::route().to(delete), docs::delete)
        .says("With all that was to be delivered to it."),
    Route::plain_post(
        "/webhooks/{id}/rotate-secret",
        Need::Token,
        || web::route().to(rotate_secret),
        docs::rotate_secret,
    )
    .says(
        "A new secret, shown once, in this answer. Deliveries are signed with both for 24 hours.",
    )
    .fails_with(|| vec![ApiError::NoSecretKey("")]),
    Route::plain_post(
        "/webhooks/{id}/ping",
        Need::Token,
        || web::route().to(deliveries::ping),
        docs::ping,
    )
    .says(
        "Sends a `WEBHOOK_PING` at once, enabled or not, and says what was answered. It is no \
            delivery, and counts for nothing.",
    )
    .fails_with(|| vec![ApiError::NoSecretKey("")]),
    Route::plain_post(
        "/webhooks/{id}/recover",
        Need::Token,
        || web::route().to(deliveries::recover),
        docs::recover,
    )
    .says("Sends again what was given up, of events since a time.")
    .fails_with(|| vec![ApiError::WebhookDisabled]),
    Route::plain_post(
        "/webhooks/{id}/replay-history",
        Need::Token,
        || web::route().to(deliveries::replay_history),
        docs::replay_history,
    )
    .says(
        "Delivers past events that the endpoint was not told, as far back as events are kept: to \
            fill a new one, or a gap.",
    )
    .fails_with(|| vec![ApiError::WebhookDisabled]),
    Route::plain_get(
        "/webhooks/{id}/deliveries",
        Need::Token,
        || web::route().to(deliveries::list),
        docs::deliveries,
    )
    .says("What was and is to be delivered, newest first.")
    .reads_parameters(),
    Route::plain_get(
        "/webhooks/{id}/deliveries/{deliveryId}",
        Need::Token,
        || web::route().to(deliveries::show),
        docs::delivery,
    )
    .says("With each try: when, by which worker, and what was answered."),
    Route::plain_post(
        "/webhooks/{id}/deliveries/{deliveryId}/resend",
        Need::Token,
        || web::route().to(deliveries::resend),
        docs::resend,
    )
    .says("Whatever became of it: its schedule begins anew, with the same `webhook-id`.")
    .fails_with(|| vec![ApiError::WebhookDisabled]),
];

/// Which webhooks a caller may see and change.
fn whose(caller: Caller) -> Whose {
    Whose::confined_to(caller.confined_to())
}

async fn list(
    state: Data<AppState>,
    caller: Caller,
    params: Params<ListParams>,
) -> Result<HttpResponse, ApiError> {
    let params = params.0;
    let mut connection = state.store.connection().await?;
    let after = params.after.unwrap_or_default();
    let rows =
        state.common.webhooks.list(&mut connection, whose(caller), after, params.rows()).await?;
    let total = match params.total {
        Some(true) => Some(state.common.webhooks.count(&mut connection, whose(caller)).await?),
        _ => None,
    };
    let (data, next) = paging::page(rows, params.rows(), |webhook| webhook.id);
    let mut page = json!({ "data": data, "nextCursor": next });
    if let Some(total) = total {
        page["total"] = json!(total);
    }
    Ok(HttpResponse::Ok().json(page))
}

async fn create(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    request: IdempotentBody<NewWebhook>,
) -> Result<Created<WebhookView>, ApiError> {
    let IdempotentBody(NewWebhook(change), key) = request;
    // The answer shows a secret, so it is kept sealed, as the secret is.
    let key = key.sealed(&state.common.webhooks.answer_key()?);
    to_the_end(&state.clone(), caller.user_id(), async move {
        let mut refused = None;
        let written = unless_in_conflict!({
            let refused = &mut refused;
            let write = async |connection: &mut Connection| {
                transaction(connection, async |connection| {
                    let webhooks = &state.common.webhooks;
                    let made = webhooks.create(connection, caller.user_id(), change.clone(), &by.0);
                    let made = within(made.await, refused)?;
                    Ok(Created::at(format!("/webhooks/{}", made.id), &made))
                })
                .await
            };
            key.write(&state, write).await
        });
        written.map_err(|failed| {
            failed.or(|error| refused.map_or_else(|| gone(error), ApiError::from))
        })
    })
    .await
}

async fn show(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
) -> Result<JsonResponse<WebhookView>, ApiError> {
    let mut connection = state.store.connection().await?;
    let found = state.common.webhooks.show(&mut connection, whose(caller), id.0).await?;
    Ok(JsonResponse::ok(&found))
}

async fn change(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
    body: Body<ChangedWebhook>,
) -> Result<JsonResponse<WebhookView>, ApiError> {
    let ChangedWebhook(change) = body.0;
    order(&state.clone(), caller, async move {
        let mut connection = state.store.connection().await?;
        state.common.webhooks.change(&mut connection, whose(caller), id.0, change, &by.0).await
    })
    .await
    .map(|changed| JsonResponse::ok(&changed))
}

async fn delete(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
) -> Result<Deleted, ApiError> {
    order(&state.clone(), caller, async move {
        let mut connection = state.store.connection().await?;
        state.common.webhooks.delete(&mut connection, whose(caller), id.0, &by.0).await
    })
    .await
    .map(|()| Deleted)
}

async fn rotate_secret(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
) -> Result<JsonResponse<WebhookView>, ApiError> {
    order(&state.clone(), caller, async move {
        let mut connection = state.store.connection().await?;
        state.common.webhooks.rotate_secret(&mut connection, whose(caller), id.0, &by.0).await
    })
    .await
    .map(|rotated| JsonResponse::ok(&rotated))
}

/// Carries out an order to its end.
async fn order<T: Send + 'static>(
    state: &AppState,
    caller: Caller,
    order: impl Future<Output = Result<T, WebhookError>> + Send + 'static,
) -> Result<T, ApiError> {
    to_the_end(state, caller.user_id(), async move { Ok(order.await?) }).await
}

fn gone(error: StoreError) -> ApiError {
    match error {
        // The caller was deleted a moment ago.
        StoreError::Missing(_) => ApiError::InvalidToken,
        other => other.into(),
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> ApiError {
        match error {
            WebhookError::Invalid(name, problem) => {
                ApiError::Validation(vec![Fault::new(RequestPart::Body, name, problem)])
            }
            WebhookError::Missing(what) => ApiError::NotFound(what),
            WebhookError::TooMany => ApiError::TooManyWebhooks,
            WebhookError::Disabled => ApiError::WebhookDisabled,
            WebhookError::NoSecretKey(why) => ApiError::NoSecretKey(why),
            WebhookError::Store(error) => error.into(),
        }
    }
}
