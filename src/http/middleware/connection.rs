//! What a request says about its connection, where the HTTP library can't be left alone with it.
//!
//! Of requests that are sent one after the other without waiting, the library reads the next before
//! it has answered the one before: what the later says about the connection would count for the
//! earlier.

use std::cell::Cell;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, UPGRADE};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};

use crate::http::error::ApiError;

/// Whether a request has said that it is the last one.
#[derive(Default)]
struct Last(Cell<bool>);

/// Notes a new connection.
pub(in crate::http) fn connected(data: &mut Extensions) {
    data.insert(Last::default());
}

/// The outermost middleware.
///
/// - After a request with `Connection: close` none is carried out (RFC 9112, section 9.6). The
///   library has read it by then, so it is refused, after an answer that says that it is the last.
/// - An offer to go on in another protocol is not taken up. One that comes with a later request of
///   a connection makes the library end it, so the answer says so.
/// - Whatever comes with `Upgrade: websocket` the library takes for the new protocol, whatever its
///   length says; so such a request is refused before anybody waits for its body.
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
        Some(refusal) => (request.into_response(refusal.error_response()), true),
        None => (next.call(request).await?.map_into_boxed_body(), ends),
    };
    if ends {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Whether the connection ends with this request.
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
