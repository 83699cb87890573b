//! Deliveries: looked at, and ordered once more.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::bodies::{DeliveryParams, History, Recovery};
use super::{order, whose};
use crate::access::Caller;
use crate::http::AppState;
use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::body::Body;
use crate::http::extract::fields::Params;
use crate::http::extract::ids::Id;
use crate::http::extract::paging::{self, read_id};
use crate::http::response::JsonResponse;
use crate::http::routes::operator::OperatorOf;
use crate::webhooks::orders::{DeliveryView, PingView, Replayed};

pub(super) async fn ping(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
) -> Result<JsonResponse<PingView>, ApiError> {
    let mut connection = state.store.connection().await?;
    let ping = state.common.webhooks.ping(&mut connection, whose(caller), id.0).await?;
    drop(connection);
    Ok(JsonResponse::ok(&ping.send().await))
}

pub(super) async fn list(
    state: Data<AppState>,
    caller: Caller,
    id: Id,
    params: Params<DeliveryParams>,
) -> Result<HttpResponse, ApiError> {
    let DeliveryParams { state: wanted, before, limit } = params.0;
    let mut connection = state.store.connection().await?;
    let (of, rows) = ((whose(caller), id.0), paging::rows(limit));
    let found = state.common.webhooks.deliveries(&mut connection, of, wanted, before, rows).await?;
    let (data, next) = paging::page(found, rows, |delivery| delivery.id);
    Ok(HttpResponse::Ok().json(json!({ "data": data, "nextCursor": next })))
}

pub(super) async fn show(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Id,
) -> Result<JsonResponse<DeliveryView>, ApiError> {
    let delivery = delivery_id(&request)?;
    let mut connection = state.store.connection().await?;
    let (of, with_answers) = ((whose(caller), id.0), !caller.is_viewer());
    let webhooks = &state.common.webhooks;
    let found = webhooks.delivery(&mut connection, of, delivery, with_answers).await?;
    Ok(JsonResponse::ok(&found))
}

pub(super) async fn resend(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    request: HttpRequest,
    id: Id,
) -> Result<JsonResponse<DeliveryView>, ApiError> {
    let delivery = delivery_id(&request)?;
    order(&state.clone(), caller, async move {
        let mut connection = state.store.connection().await?;
        state.common.webhooks.resend(&mut connection, (whose(caller), id.0), delivery, &by.0).await
    })
    .await
    .map(|resent| JsonResponse::ok(&resent))
}

pub(super) async fn recover(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
    body: Body<Recovery>,
) -> Result<JsonResponse<Replayed>, ApiError> {
    let Recovery { since } = body.0;
    order(&state.clone(), caller, async move {
        let mut connection = state.store.connection().await?;
        state.common.webhooks.recover(&mut connection, (whose(caller), id.0), since, &by.0).await
    })
    .await
    .map(|replayed| JsonResponse::ok(&replayed))
}

pub(super) async fn replay_history(
    state: Data<AppState>,
    caller: Caller,
    by: OperatorOf,
    id: Id,
    body: Body<History>,
) -> Result<JsonResponse<Replayed>, ApiError> {
    let History { since, types } = body.0;
    order(&state.clone(), caller, async move {
        let mut connection = state.store.connection().await?;
        state
            .common
            .webhooks
            .replay_history(&mut connection, (whose(caller), id.0), (since, types), &by.0)
            .await
    })
    .await
    .map(|replayed| JsonResponse::ok(&replayed))
}

fn delivery_id(request: &HttpRequest) -> Result<i64, ApiError> {
    read_id(request.match_info().query("deliveryId")).ok_or_else(|| {
        let message = "must be a whole number from 1";
        ApiError::Validation(vec![Fault::new(RequestPart::Path, "deliveryId", message)])
    })
}
