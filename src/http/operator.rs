//! Dead letters over HTTP, for admins. The user who runs the process has a way of his own: `operator_socket`.

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, Responder};

use crate::dead_letters::{DeadLetters, Order};
use crate::http::error::ApiError;
use crate::http::limits::within_limits;

/// Where orders go.
pub const PATH: &str = "/operator/dead-letters";

/// Adds the route; it answers from the [`DeadLetters`] in the app's data.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource(PATH).wrap(from_fn(within_limits)).route(web::post().to(obey)));
}

pub(super) async fn obey(
    letters: Data<DeadLetters>,
    order: Result<web::Json<Order>, actix_web::Error>,
) -> Result<impl Responder, ApiError> {
    let order = order.map_err(|error| ApiError::MalformedJson(error.to_string()))?.into_inner();
    letters.obey(order).await.map(|answer| HttpResponse::Ok().json(answer)).map_err(|error| {
        tracing::warn!(%error, "answering 503");
        ApiError::Unavailable
    })
}
