//! JSON bodies.

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use paperclip::v2::schema::Apiv2Schema;
use serde_json::{Map, Value};

use crate::http::error::{ApiError, RequestPart};
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::extract::json;

/// The longest body in bytes. None needs more: a description of 10,000 characters takes at most 120
/// kB in JSON.
pub const BODY_BYTES: usize = 256 * 1024;

/// A JSON body, read and checked.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: FromFields> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let members = Body::<T>::members(request, payload);
        Box::pin(async move { Body::of(members.await?) })
    }
}

impl<T: FromFields> Body<T> {
    /// Reads the members of the body, unchecked.
    pub fn members(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> impl Future<Output = Result<Map<String, Value>, ApiError>> + use<T> {
        members(request, payload, T::MEDIA_TYPES)
    }

    /// Reads and checks the value from the members.
    pub fn of(members: Map<String, Value>) -> Result<Body<T>, ApiError> {
        let mut fields = Fields::new(RequestPart::Body, members);
        let value = T::from_fields(&mut fields);
        fields.finish(Body(value))
    }
}

/// A JSON body that may be missing, which is the same as one without members.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

impl<T: FromFields> FromRequest for OptionalBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let headers = request.headers();
        let length = headers.get("content-length");
        let empty = match length {
            Some(length) => length.as_bytes() == b"0",
            None => !headers.contains_key("transfer-encoding"),
        };
        let reading = (!empty).then(|| Body::<T>::members(request, payload));
        Box::pin(async move {
            let members = match reading {
                Some(reading) => reading.await?,
                None => Map::new(),
            };
            Body::of(members).map(|Body(value)| OptionalBody(value))
        })
    }
}

/// Reads the members of a body that has one of these media types.
pub fn members(
    request: &HttpRequest,
    payload: &mut Payload,
    media_types: &'static [&'static str],
) -> impl Future<Output = Result<Map<String, Value>, ApiError>> + use<> {
    let supported = media_type(request).is_some_and(|kind| media_types.contains(&kind.as_str()));
    let declared =
        request.headers().get("content-length").and_then(|v| v.to_str().ok()?.parse().ok());
    let payload = payload.take();
    async move {
        if !supported {
            return Err(ApiError::UnsupportedMediaType(
                media_types.first().copied().unwrap_or_default(),
            ));
        }
        json::object(&read(payload, declared).await?)
    }
}

/// The media type without its parameters, in lower case.
fn media_type(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

async fn read(mut payload: Payload, declared: Option<usize>) -> Result<Vec<u8>, ApiError> {
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(ApiError::PayloadTooLarge(BODY_BYTES));
    }
    let mut bytes = Vec::with_capacity(declared.unwrap_or_default());
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|e| ApiError::MalformedJson(e.to_string()))?;
        if bytes.len() + chunk.len() > BODY_BYTES {
            return Err(ApiError::PayloadTooLarge(BODY_BYTES));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

described_as!(Body<T>, actix_web::web::Json<T>, T: Apiv2Schema);
