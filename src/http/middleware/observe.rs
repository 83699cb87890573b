//! What is done around every request: its id, its metrics and its log line, and a uniform form for
//! errors.

use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};

use crate::access::Caller;
use crate::ground::shutdown::Shutdown;
use crate::http::AppState;
use crate::http::error::{ApiError, PROBLEM_JSON};
use crate::http::middleware::admission::MatchedRoute;
use crate::http::middleware::spans;
use crate::http::request_id::RequestId;

/// Middleware around routing and all rules, so that refusals are measured and logged too.
pub async fn observe<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let mut context = RequestId::read(&request);
    let span = spans::begin(&request, &mut context);
    let id = context.id.clone();
    let method = request.method().clone();
    // RFC 9110, section 9.3.2: HEAD is GET without a body. The server leaves the body out itself.
    if method == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let under_way =
        request.app_data::<web::Data<AppState>>().map(|s| s.common.metrics.requests.begin());
    let answering = async move {
        match next.call(request).await {
            Ok(response) => Ok(as_problem(response.map_into_boxed_body())),
            Err(error) => Err(error),
        }
    };
    let mut response = RequestId::within(context, answering).await?;
    RequestId::mark(&id, response.headers_mut());
    let stopping = response.request().app_data::<web::Data<Stopping>>();
    if stopping.is_some_and(|stopping| stopping.0.stopped()) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let status = response.status();
    let matched = response.request().extensions_mut().remove::<MatchedRoute>();
    let route = matched.map_or_else(|| response.request().match_pattern(), |matched| matched.path);
    spans::end(span, &method, route.as_deref(), status);
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    let elapsed = started.elapsed();
    if let Some(state) = response.request().app_data::<web::Data<AppState>>() {
        let metrics = &state.common.metrics;
        let labels = [known(&method), route.as_str(), status.as_str()];
        metrics.http_requests.with_label_values(&labels).observe(elapsed.as_secs_f64());
        metrics.http_answers.with_label_values(&[route.as_str(), class(status)]).inc();
    }
    if let Some(under_way) = under_way {
        under_way.finish(1);
    }
    let log = response.request().app_data::<web::Data<AccessLog>>().map(|log| *log.get_ref());
    if log.is_some_and(|log| log.has(status, elapsed)) {
        // The path without the query: search terms are private.
        let path = response.request().path();
        let (status, ms) = (status.as_u16(), (elapsed.as_secs_f64() * 1e4).round() / 10.0);
        let caller = caller_of(response.request());
        let caller = caller.map_or("none".to_owned(), |caller| caller.actor().to_string());
        tracing::info!(%method, route, path, status, ms, request_id = id, caller, "request");
    }
    Ok(response)
}

/// Who a page of the console is shown to, for its line in the log. It is a type of its own, so that
/// no handler can take it for a caller of its route.
struct Reader(Caller);

/// Notes that a page is shown to whoever a request to the API came from that it has made.
pub(in crate::http) fn note_reader(page: &HttpRequest, asked: &HttpRequest) {
    if let Some(caller) = caller_of(asked) {
        page.extensions_mut().insert(Reader(caller));
    }
}

fn caller_of(request: &HttpRequest) -> Option<Caller> {
    let extensions = request.extensions();
    extensions.get::<Caller>().copied().or_else(|| Some(extensions.get::<Reader>()?.0))
}

/// Tells whether the process is stopping. From then on each response closes its connection.
pub(in crate::http) struct Stopping(pub(in crate::http) Shutdown);

/// Which requests have a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AccessLog {
    /// Every one.
    All,
    /// Those that are answered 4xx or 5xx, or that take more than a second.
    Errors,
    /// None.
    Off,
}

/// Slower than any request that isn't held up.
const SLOW: Duration = Duration::from_secs(1);

impl AccessLog {
    fn has(self, status: StatusCode, elapsed: Duration) -> bool {
        match self {
            AccessLog::All => true,
            AccessLog::Errors => {
                status.is_client_error() || status.is_server_error() || elapsed > SLOW
            }
            AccessLog::Off => false,
        }
    }
}

/// Turns errors that the framework answered by itself into problem documents like our own.
fn as_problem(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    // Pages say in their own way what is wrong.
    let is_told = |media_type: &str| {
        content_type.is_some_and(|given| given.as_bytes().starts_with(media_type.as_bytes()))
    };
    if is_told(PROBLEM_JSON) || is_told("text/html") {
        return response;
    }
    let error = match status {
        StatusCode::NOT_FOUND => ApiError::RouteNotFound,
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::PayloadTooLarge(crate::http::extract::body::BODY_BYTES)
        }
        _ if status.is_client_error() => ApiError::Validation(Vec::new()),
        // A failed readiness check explains itself in its own document.
        StatusCode::SERVICE_UNAVAILABLE if content_type.is_some() => return response,
        StatusCode::SERVICE_UNAVAILABLE => ApiError::Unavailable,
        _ => ApiError::Internal,
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, error.error_response())
}

/// The metric label of a method. Clients can make methods up, and each label is kept forever.
pub(super) fn known(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

/// The metric label of a status: its class, or 429, which alerts tell from other faults of clients.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "429",
        500.. => "5xx",
        400.. => "4xx",
        300.. => "3xx",
        200.. => "2xx",
        _ => "1xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_requests_are_a_class_of_their_own() {
        for (status, label) in
            [(200, "2xx"), (304, "3xx"), (404, "4xx"), (429, "429"), (503, "5xx")]
        {
            assert_eq!(class(StatusCode::from_u16(status).unwrap()), label);
        }
    }

    #[test]
    fn errors_and_slow_requests_are_what_errors_are() {
        let (quick, slow) = (Duration::from_millis(900), Duration::from_millis(1_100));
        for (status, elapsed, logged) in [
            (StatusCode::OK, quick, false),
            (StatusCode::NOT_MODIFIED, quick, false),
            (StatusCode::OK, slow, true),
            (StatusCode::NOT_FOUND, quick, true),
            (StatusCode::SERVICE_UNAVAILABLE, quick, true),
        ] {
            assert_eq!(AccessLog::Errors.has(status, elapsed), logged, "{status} {elapsed:?}");
            assert!(AccessLog::All.has(status, elapsed) && !AccessLog::Off.has(status, elapsed));
        }
    }
}
