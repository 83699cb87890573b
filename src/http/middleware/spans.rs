//! The span of a request, by the conventions for HTTP servers
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span>).

use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, StatusCode};

use super::observe::known;
use crate::domain::event::RequestContext;
use crate::ground::traces::{self, Span, SpanKind, names};

/// What monitoring asks every few seconds. It is no part of what anybody wants to follow.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// As much of a path as is worth keeping; every path of ours is shorter.
const PATH_BYTES: usize = 512;

/// Begins the span of a request, which continues the client's trace. From here on the request's
/// trace context is that of the span: events and what follows from them are its children.
pub(super) fn begin(request: &ServiceRequest, context: &mut RequestContext) -> Span {
    if !traces::on() || UNTRACED.contains(&request.path()) {
        return Span::NONE;
    }
    let method = conventional(request.method());
    let name = if method == "_OTHER" { "HTTP" } else { method };
    let mut span = Span::first(SpanKind::Server, name.to_owned(), context.traceparent.as_deref());
    context.traceparent = span.traceparent();
    if span.is_kept() {
        span.set(names::HTTP_REQUEST_METHOD, method.to_owned());
        span.set(names::URL_SCHEME, "http");
        // The path without the query: search terms are private.
        let path = request.path();
        let end = (0..=PATH_BYTES.min(path.len())).rev().find(|end| path.is_char_boundary(*end));
        span.set(names::URL_PATH, path[..end.unwrap_or_default()].to_owned());
        span.set("taskd.request_id", context.id.clone());
    }
    span
}

/// Ends it with what became of the request. A client's mistake is not an error of the server.
pub(super) fn end(mut span: Span, method: &Method, route: Option<&str>, status: StatusCode) {
    if !span.is_kept() {
        return;
    }
    if let Some(route) = route {
        span.rename(format!("{} {route}", conventional(method)));
        span.set(names::HTTP_ROUTE, route.to_owned());
    }
    span.set(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned(), "");
    }
}

fn conventional(method: &Method) -> &str {
    match known(method) {
        "other" => "_OTHER",
        known => known,
    }
}
