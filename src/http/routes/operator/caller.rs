//! The operator who sends a request.

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::{Ready, ready};
use paperclip::actix::OperationModifier;
use paperclip::v2::schema::Apiv2Schema;

use crate::access::Caller;
use crate::domain::event::ActorKind;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::extract::caller;
use crate::http::request_id::RequestId;
use crate::operate::Operator;

/// Gives a handler the operator who sends the request, as it is written down.
pub(in crate::http) struct OperatorOf(pub(in crate::http) Operator);

impl FromRequest for OperatorOf {
    type Error = ApiError;
    type Future = Ready<Result<OperatorOf, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let sender = request.extensions().get::<Caller>().copied();
        let state = request.app_data::<Data<AppState>>();
        let address =
            state.and_then(|state| caller::address(request, state.common.rates.trusted_proxies()));
        ready(Ok(OperatorOf(Operator {
            name: name(sender),
            origin: address.map(|address| address.to_string()),
            request_id: Some(RequestId::current()),
        })))
    }
}

// It is not a parameter in the OpenAPI document.
impl Apiv2Schema for OperatorOf {}
impl OperationModifier for OperatorOf {}

/// What a caller is called in the audit log: `user 1`, or `user 1 (token 7)`.
fn name(sender: Option<Caller>) -> String {
    let Some(Caller::Holder(holder)) = sender else { return "operator".to_owned() };
    match holder.actor() {
        actor if actor.kind == ActorKind::Token => {
            format!("user {} (token {})", holder.user_id, holder.token_id)
        }
        _ => format!("user {}", holder.user_id),
    }
}
