//! The limits of a request: its time, and a body that must not be compressed.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, ResponseError};
use futures_util::Stream;

use crate::http::error::ApiError;
use crate::http::middleware::hosts::AllowedHosts;
use crate::http::middleware::observe::AccessLog;

/// The limits of a server. The longest body is `body::BODY_BYTES`. The framework has limits of its
/// own for headers, and gives a client ten seconds to send them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a request may take, from its headers to its response.
    pub request_timeout: Duration,
    /// How many connections may be open in all; further ones wait to be accepted.
    pub max_connections: usize,
    /// Who may use the API from a browser, and under which names an instance without tokens is
    /// served.
    pub allowed: AllowedHosts,
    /// Which requests are logged.
    pub access_log: AccessLog,
}

impl Limits {
    /// The number of threads, and the connections of each: the framework counts them by thread.
    pub fn threads(&self) -> (usize, usize) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(self.max_connections).max(1);
        (threads, (self.max_connections / threads).max(1))
    }
}

/// The body of a request, which may not have been read to its end.
struct Body {
    payload: RefCell<Payload>,
    /// Whether the reader is waiting for the client's next bytes.
    waiting: Cell<bool>,
}

/// Middleware around the app. It keeps a body that was not read to its end until the response has
/// been sent, so that the framework then closes the connection.
///
/// If the body were dropped before, the framework would read it to its end to reach the next
/// request, and would wait for a chunked body for as long as the client likes.
pub async fn with_body<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let body = Rc::new(Body { payload: RefCell::new(payload), waiting: Cell::new(false) });
    request.set_payload(Payload::Stream { payload: Box::pin(Reader(body.clone())) });
    request.extensions_mut().insert(body.clone());
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(response.map_body(|_, answer| BoxBody::new(KeptBody { answer, _body: body })))
}

/// A response that keeps the body of its request.
struct KeptBody {
    answer: BoxBody,
    _body: Rc<Body>,
}

impl MessageBody for KeptBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}

struct Reader(Rc<Body>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut *self.0.payload.borrow_mut()).poll_next(context);
        self.0.waiting.set(next.is_pending());
        next
    }
}

/// Middleware around each resource: only after the routing can the request be kept, for an answer
/// in the handler's place.
///
/// A handler that is out of time is dropped, but a write runs to its end in a task of its own.
pub async fn within_limits<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let kept = request.request().clone();
    let refuse = |error: ApiError| ServiceResponse::new(kept.clone(), error.error_response());
    let body = request.extensions().get::<Rc<Body>>().cloned();
    if body.is_some() && is_packed(&request) {
        return Ok(refuse(ApiError::UnsupportedEncoding));
    }
    let Some(limits) = request.app_data::<Data<Limits>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    match tokio::time::timeout(limits.request_timeout, next.call(request)).await {
        Ok(answered) => Ok(answered?.map_into_boxed_body()),
        Err(_) if body.is_some_and(|body| body.waiting.get()) => Ok(refuse(ApiError::SlowBody)),
        Err(_) => Ok(refuse(ApiError::Timeout)),
    }
}

/// Whether the body is compressed. None such is accepted: 256 kB could unpack to gigabytes.
fn is_packed(request: &ServiceRequest) -> bool {
    let packed = |value: &actix_web::http::header::HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.filter(|name| !name.is_empty()).any(|name| !name.eq_ignore_ascii_case(b"identity"))
    };
    request.headers().get_all(CONTENT_ENCODING).any(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::middleware::hosts::Hosts;

    #[test]
    fn all_threads_together_have_no_more_connections_than_allowed() {
        for max_connections in [1, 2, 3, 1000] {
            let request_timeout = Duration::from_secs(1);
            let limits = Limits {
                request_timeout,
                max_connections,
                access_log: AccessLog::Off,
                allowed: AllowedHosts { hosts: Hosts::default(), origins: None },
            };
            let (threads, each) = limits.threads();
            assert!(threads >= 1 && each >= 1);
            assert!(threads * each <= max_connections);
        }
    }
}
