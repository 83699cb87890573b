//! The id of a request, which links its log lines, its errors and its response, and its trace
//! context, which links it with what others log.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::access::Caller;
use crate::domain::event::{Origin, RequestContext};
use crate::ground::traces;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id is replaced: it may have been made up to fill logs.
const REQUEST_ID_CHARS: usize = 128;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The id of the request that the present task serves.
pub struct RequestId;

impl RequestId {
    /// The id, or a new one outside of a request.
    pub fn current() -> String {
        CURRENT.try_with(|request| request.id.clone()).unwrap_or_else(|_| RequestId::fresh())
    }

    fn fresh() -> String {
        Uuid::now_v7().to_string()
    }

    /// Names the id in the headers of a response.
    pub(super) fn mark(id: &str, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, value);
        }
    }

    /// The request that the present task serves; one with a new id outside of a request.
    pub fn context() -> RequestContext {
        let fresh = |_| RequestContext { id: RequestId::fresh(), traceparent: None };
        CURRENT.try_with(RequestContext::clone).unwrap_or_else(fresh)
    }

    /// Where a change comes from that this caller makes in the present request.
    pub fn origin(caller: &Caller) -> Origin {
        Origin::of(caller.actor()).within(RequestId::context())
    }

    /// Runs a future as part of this request, such as one in a task of its own.
    pub async fn within<F: Future>(request: RequestContext, future: F) -> F::Output {
        CURRENT.scope(request, future).await
    }

    /// The request with its id and its trace context.
    pub(super) fn read(request: &ServiceRequest) -> RequestContext {
        let given = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let traceparent = given.filter(|text| traces::is_traceparent(text)).map(str::to_owned);
        RequestContext { id: RequestId::of(request), traceparent }
    }

    /// The id that the client or a proxy sent, if it is fit to be logged; else a new one.
    fn of(request: &ServiceRequest) -> String {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let fit = |id: &&str| {
            (1..=REQUEST_ID_CHARS).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
        };
        given.filter(fit).map_or_else(RequestId::fresh, str::to_owned)
    }
}
