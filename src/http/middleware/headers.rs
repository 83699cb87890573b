//! Headers that every response has, for browsers that may show it.
//!
//! There is no `Strict-Transport-Security`: TLS ends at the proxy, so the proxy has to promise it.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// The API's responses are data: a browser that shows one as a page must not run anything.
const OF_DATA: &str = "default-src 'none'; frame-ancestors 'none'";
/// What Swagger UI needs: its own files, the styles it writes itself, images within them, and the
/// API.
const OF_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Middleware around everything that makes responses, so that none goes without these headers. A
/// header that a response sets itself stays.
pub async fn secured<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let is_docs = is_at(request.path(), "/docs");
    let is_tasks = is_at(request.path(), "/tasks");
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let mut response = next.call(request).await?;
    let is_good = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let caching = match is_read && is_good {
        // The program's own files, which change only with the program.
        true if is_docs => "public, max-age=3600",
        // May be stored, but must be revalidated by its ETag.
        true if is_tasks => "private, no-cache",
        _ => "no-store",
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, if is_docs { OF_DOCS } else { OF_DATA }),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
        (CACHE_CONTROL, caching),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}

fn is_at(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
