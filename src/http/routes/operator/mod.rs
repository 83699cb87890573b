//! Dead letters over HTTP, for admins. The user who runs the process has the `socket` instead.

pub mod socket;

use actix_web::dev::Payload;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use crate::dead_letters::{DeadLetters, Order};
use crate::http::error::{ApiError, Fault, Place};
use crate::http::extract::body::members;
use crate::http::middleware::limits::within_limits;

/// The path to which orders are posted.
pub use crate::http::middleware::admission::OPERATOR_PATH as PATH;

/// Adds the route. It uses the [`DeadLetters`] in the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource(PATH).wrap(from_fn(within_limits)).route(web::post().to(obey)));
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
                let fault = Fault { r#in: Place::Body, pointer: String::new(), message };
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
