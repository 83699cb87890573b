//! The responses of handlers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, Responder, web::Bytes};
use futures_util::Stream;
use paperclip::actix::OperationModifier;
use paperclip::v2::models::{DefaultOperationRaw, DefaultSchemaRaw, Either, Response};
use paperclip::v2::schema::Apiv2Schema;
use serde::Serialize;

use crate::store::idempotency_keys::StoredResponse;

/// After so much silence a stream of events says something, so that no proxy takes it for dead.
pub const SILENCE: Duration = Duration::from_secs(15);

/// Server-sent events
/// (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), as they come.
pub fn event_stream(
    lines: impl Stream<Item = Result<Bytes, Infallible>> + 'static,
) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // NGINX would otherwise keep what the stream says until there is more of it.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(lines)
}

/// A JSON document that the OpenAPI document describes as a `T`; also the 304 without one.
pub struct JsonResponse<T> {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
    described: PhantomData<T>,
}

impl<T: Serialize> JsonResponse<T> {
    /// 200 with this document.
    pub fn ok(value: &T) -> JsonResponse<T> {
        JsonResponse::bytes(Bytes::from(encode(value)))
    }
}

impl<T> JsonResponse<T> {
    /// 200 with a document that is already encoded, such as one from the cache.
    pub fn encoded(body: Bytes) -> JsonResponse<T> {
        JsonResponse::bytes(body)
    }

    /// 304: the client has this version already.
    pub fn not_modified(version: i64) -> JsonResponse<T> {
        JsonResponse { status: StatusCode::NOT_MODIFIED, ..JsonResponse::bytes(Bytes::new()) }
            .tagged(version)
    }

    /// Adds the entity tag of this version.
    pub fn tagged(mut self, version: i64) -> JsonResponse<T> {
        self.headers.push((ETAG, entity_tag(version)));
        self
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: String) -> JsonResponse<T> {
        self.headers.push((name, value));
        self
    }

    fn bytes(body: Bytes) -> JsonResponse<T> {
        JsonResponse { status: StatusCode::OK, headers: Vec::new(), body, described: PhantomData }
    }
}

/// Encodes a document, in the form that is sent and cached.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_long(value, 1_024)
}

/// The same for a document of about `bytes` bytes, which are allocated at once.
#[expect(
    clippy::expect_used,
    reason = "DTOs are structs of strings, numbers and times: always JSON"
)]
pub fn encode_long<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    let mut document = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut document, value).expect("a DTO is JSON");
    document
}

impl<T> Responder for JsonResponse<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for header in self.headers {
            response.insert_header(header);
        }
        if self.status == StatusCode::NOT_MODIFIED {
            return response.finish();
        }
        response.content_type("application/json").body(self.body)
    }
}

/// 201 with what was created.
pub struct Created<T>(JsonResponse<T>);

impl<T: Serialize> Created<T> {
    /// What was created, and its path.
    pub fn at(location: String, value: &T) -> Created<T> {
        let headers = vec![(LOCATION, location)];
        Created(JsonResponse { status: StatusCode::CREATED, headers, ..JsonResponse::ok(value) })
    }

    /// Adds the entity tag of this version.
    pub fn tagged(self, version: i64) -> Created<T> {
        Created(self.0.tagged(version))
    }

    /// The parts of the answer that are stored for repeats of its request.
    pub fn kept(&self) -> StoredResponse {
        let header = |(name, value): &(HeaderName, String)| (name.to_string(), value.clone());
        StoredResponse {
            status: self.0.status.as_u16(),
            headers: self.0.headers.iter().map(header).collect(),
            body: self.0.body.to_vec(),
        }
    }

    /// A stored answer, marked as a repeat.
    pub fn replayed(kept: StoredResponse) -> Created<T> {
        let header = |(name, value): (String, String)| Some((name.parse().ok()?, value));
        let mut headers: Vec<_> = kept.headers.into_iter().filter_map(header).collect();
        headers.push((HeaderName::from_static("idempotency-replayed"), "true".to_owned()));
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::CREATED);
        Created(JsonResponse { status, headers, ..JsonResponse::bytes(Bytes::from(kept.body)) })
    }
}

impl<T> Responder for Created<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        self.0.respond_to(request)
    }
}

/// 204: it was deleted.
pub struct Deleted;

impl Responder for Deleted {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::NoContent().finish()
    }
}

fn describe<T: Apiv2Schema>(operation: &mut DefaultOperationRaw, status: StatusCode) {
    let mut schema = T::schema_with_ref();
    schema.retain_ref();
    let response = Response {
        description: status.canonical_reason().map(str::to_owned),
        schema: Some(schema),
        ..Response::default()
    };
    operation.responses.insert(status.as_str().to_owned(), Either::Right(response));
}

impl<T: Apiv2Schema> Apiv2Schema for JsonResponse<T> {}
impl<T: Apiv2Schema> OperationModifier for JsonResponse<T> {
    fn update_response(operation: &mut DefaultOperationRaw) {
        describe::<T>(operation, StatusCode::OK);
    }
    fn update_definitions(map: &mut BTreeMap<String, DefaultSchemaRaw>) {
        actix_web::web::Json::<T>::update_definitions(map);
    }
}

impl<T: Apiv2Schema> Apiv2Schema for Created<T> {}
impl<T: Apiv2Schema> OperationModifier for Created<T> {
    fn update_response(operation: &mut DefaultOperationRaw) {
        describe::<T>(operation, StatusCode::CREATED);
    }
    fn update_definitions(map: &mut BTreeMap<String, DefaultSchemaRaw>) {
        actix_web::web::Json::<T>::update_definitions(map);
    }
}

impl Apiv2Schema for Deleted {}
impl OperationModifier for Deleted {
    fn update_response(operation: &mut DefaultOperationRaw) {
        let status = StatusCode::NO_CONTENT;
        let response = Response { description: Some("Deleted".to_owned()), ..Response::default() };
        operation.responses.insert(status.as_str().to_owned(), Either::Right(response));
    }
}

/// The entity tag of a version, as it is sent (RFC 9110, section 8.8.3).
fn entity_tag(version: i64) -> String {
    format!("\"{version}\"")
}
