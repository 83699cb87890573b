//! What a request says about its connection, where the HTTP library gets it wrong.
//!
//! When a client pipelines requests, the library reads the next one before it has answered the one
//! before. What the later request says about the connection would then count for the earlier one.

use std::cell::Cell;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, UPGRADE};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};

use crate::http::error::ApiError;
use crate::http::middleware::pieces::in_pieces;
use crate::http::request_id::RequestId;

/// Whether a request on this connection has said that it is the last.
#[derive(Default)]
struct Last(Cell<bool>);

/// Prepares the data of a new connection.
pub(in crate::http) fn connected(data: &mut Extensions) {
    data.insert(Last::default());
}

/// The outermost middleware.
///
/// - After a request with `Connection: close` no further request is carried out (RFC 9112, section
///   9.6). The library has read the next one by then, so it is refused, and the response says that
///   it is the last.
/// - An offer to switch to another protocol is ignored. If it comes with a later request of a
///   connection, the library closes the connection, so the response says so.
/// - The library takes whatever follows `Upgrade: websocket` for the new protocol, whatever its
///   length says. So such a request is refused before anything waits for its body.
pub(in crate::http) async fn minded<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let last = request.conn_data::<Last>();
    let over = last.is_some_and(|last| last.0.get());
    let ends = ends(&request);
    if let Some(last) = last {
        last.0.set(over || ends);
    }
    let refusal = match (over, offers_websocket(request.headers())) {
        (true, _) => Some(ApiError::AfterClose),
        (false, true) => Some(ApiError::UpgradeUnsupported),
        (false, false) => None,
    };
    let (mut response, ends) = match refusal {
        Some(refusal) => (refuse(request, &refusal).await, true),
        None => (next.call(request).await?.map_into_boxed_body(), ends),
    };
    if ends {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| in_pieces(body)))
}

/// Refuses a request under its id, since the middleware that gives it one is not reached.
async fn refuse(request: ServiceRequest, refusal: &ApiError) -> ServiceResponse<BoxBody> {
    let context = RequestId::read(&request);
    let id = context.id.clone();
    let mut response = RequestId::within(context, async { refusal.error_response() }).await;
    RequestId::mark(&id, response.headers_mut());
    request.into_response(response)
}

/// Whether this request is the last on its connection.
fn ends(request: &ServiceRequest) -> bool {
    let head = request.head();
    match head.connection_type() {
        ConnectionType::KeepAlive => false,
        ConnectionType::Close | ConnectionType::Upgrade => head.version <= Version::HTTP_11,
    }
}

fn offers_websocket(headers: &HeaderMap) -> bool {
    let offers = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"websocket");
    headers.get_all(UPGRADE).any(|value| offers(value.as_bytes()))
}
