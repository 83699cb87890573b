//! The id of a request, which links its log lines, its errors and its response.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id is replaced: it may have been made up to fill logs.
const REQUEST_ID_CHARS: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that the present task serves.
pub struct RequestId;

impl RequestId {
    /// The id, or a new one outside of a request.
    pub fn current() -> String {
        CURRENT.try_with(String::clone).unwrap_or_else(|_| RequestId::fresh())
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

    /// Runs a future under this id, such as one in a task of its own.
    pub async fn within<F: Future>(id: String, future: F) -> F::Output {
        CURRENT.scope(id, future).await
    }

    /// The id that the client or a proxy sent, if it is fit to be logged; else a new one.
    pub(super) fn of(request: &ServiceRequest) -> String {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let fit = |id: &&str| {
            (1..=REQUEST_ID_CHARS).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
        };
        given.filter(fit).map_or_else(RequestId::fresh, str::to_owned)
    }
}
