//! The console's way to the API: the service that answers other clients, called in the process.

use std::rc::Rc;

use actix_http::Request;
use actix_service::Service;
use actix_web::body::{BoxBody, to_bytes_limited};
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, RETRY_AFTER,
};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::web::Bytes;
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::problem::Problem;
use crate::ground::secret::Secret;
use crate::http::middleware::observe::note_reader;
use crate::http::request_id::RequestId;

/// The longest answer of the API that a page reads, in bytes. A page of dead letters with bodies of
/// 256 kB each is the longest there is.
const LONGEST_ANSWER: usize = 64 << 20;

/// The headers by which proxies say whose request it is; the API reads them as those of its client.
const FORWARDED: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];

/// By which the API tells a repeated request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What may stand in a segment of a path as it is.
const IN_SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

type Answering = LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, Error>>;

/// The API's service of this thread.
#[derive(Clone)]
pub(in crate::http) struct Api(Rc<dyn Fn(Request) -> Answering>);

impl Api {
    /// This service as the API.
    pub(super) fn new<S>(service: Rc<S>) -> Api
    where
        S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
        S::Future: 'static,
    {
        Api(Rc::new(move |request| Box::pin(service.call(request))))
    }
}

/// A client of the API that acts for whoever asked for a page: with that one's token, and from that
/// one's address.
#[derive(Clone)]
pub(super) struct Client {
    api: Api,
    token: Option<Secret>,
    /// The request for the page.
    page: HttpRequest,
    headers: HeaderMap,
}

/// The query of a request to the API. What is empty is left out, as forms send what nobody filled
/// in.
pub(super) type Query<'a> = [(&'a str, &'a str)];

impl Client {
    /// A client for the one who sent this request.
    pub(super) fn new(api: Api, page: &HttpRequest, token: Option<Secret>) -> Client {
        let mut headers = HeaderMap::new();
        for name in FORWARDED.map(HeaderName::from_static).into_iter().chain([HOST]) {
            for value in page.headers().get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Client { api, token, page: page.clone(), headers }
    }

    /// Reads what a route says.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
    ) -> Result<T, Problem> {
        self.send(Method::GET, &target(path, query), None, None).await?.read()
    }

    /// Sends an order, and reads its answer.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Problem> {
        self.send(Method::POST, path, None, Some(body)).await?.read()
    }

    /// Makes a resource, once for each key.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<T, Problem> {
        let key = (!key.is_empty()).then_some((IDEMPOTENCY_KEY, key));
        self.send(Method::POST, path, key, Some(body)).await?.read()
    }

    /// Changes a resource, if it still has this entity tag.
    pub(super) async fn patch(
        &self,
        path: &str,
        etag: Option<&str>,
        body: &Value,
    ) -> Result<(), Problem> {
        self.send(Method::PATCH, path, etag.map(|etag| (IF_MATCH, etag)), Some(body))
            .await
            .map(drop)
    }

    /// Deletes a resource, if it still has this entity tag.
    pub(super) async fn delete(&self, path: &str, etag: Option<&str>) -> Result<(), Problem> {
        self.send(Method::DELETE, path, etag.map(|etag| (IF_MATCH, etag)), None).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        condition: Option<(HeaderName, &str)>,
        body: Option<&Value>,
    ) -> Result<Answer, Problem> {
        let body = body.map(Value::to_string);
        let length = body.as_ref().map(String::len);
        let mut request = Request::with_payload(match body {
            Some(body) => Payload::from(body.into_bytes()),
            None => Payload::None,
        });
        let head = request.head_mut();
        head.method = method;
        head.uri = target.parse::<Uri>().map_err(|_| Problem::unreadable())?;
        head.peer_addr = self.page.peer_addr();
        head.headers = self.headers.clone();
        let mut set = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value).map_err(|_| Problem::unreadable());
            value.map(|value| drop(head.headers.insert(name, value)))
        };
        let context = RequestId::context();
        set(HeaderName::from_static("x-request-id"), &context.id)?;
        if let Some(traceparent) = &context.traceparent {
            set(HeaderName::from_static("traceparent"), traceparent)?;
        }
        if let Some(length) = length {
            set(CONTENT_TYPE, "application/json")?;
            set(CONTENT_LENGTH, &length.to_string())?;
        }
        if let Some((name, value)) = condition {
            set(name, value)?;
        }
        if let Some(token) = &self.token {
            set(AUTHORIZATION, &format!("Bearer {}", token.expose()))?;
        }
        let response = (self.api.0)(request).await.map_err(|_| Problem::unreadable())?;
        note_reader(&self.page, response.request());
        Answer::of(response.into_parts().1).await
    }
}

/// What the API has answered.
struct Answer(Bytes);

impl Answer {
    /// A success, or the problem it describes.
    async fn of(response: HttpResponse) -> Result<Answer, Problem> {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = to_bytes_limited(response.into_body(), LONGEST_ANSWER).await;
        let body = body.ok().and_then(Result::ok).ok_or_else(Problem::unreadable)?;
        if status.is_success() {
            Ok(Answer(body))
        } else {
            Err(Problem::of(status, &body).over_in(retry_after))
        }
    }

    fn read<T: DeserializeOwned>(self) -> Result<T, Problem> {
        // An answer without content reads as null.
        let body = if self.0.is_empty() { b"null" } else { &*self.0 };
        serde_json::from_slice(body).map_err(|error| {
            tracing::error!(%error, "the console can't read an answer of the API");
            Problem::of(StatusCode::INTERNAL_SERVER_ERROR, &[])
        })
    }
}

/// A path with a query. What is empty is left out.
pub(super) fn target(path: &str, query: &Query<'_>) -> String {
    let given: Vec<_> = query.iter().filter(|(_, value)| !value.is_empty()).collect();
    if given.is_empty() {
        return path.to_owned();
    }
    let query = Serializer::new(String::new()).extend_pairs(given).finish();
    format!("{path}?{query}")
}

/// A text as a segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, &IN_SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_not_asked_for_and_nothing_can_leave_its_place() {
        assert_eq!(target("/tasks", &[("search", ""), ("status", "")]), "/tasks");
        let searched = target("/tasks", &[("search", "a&b=c/ü?"), ("limit", "5")]);
        assert_eq!(searched, "/tasks?search=a%26b%3Dc%2F%C3%BC%3F&limit=5");
        assert_eq!(segment("../x?y"), "..%2Fx%3Fy");
    }
}
