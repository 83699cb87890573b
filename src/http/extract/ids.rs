//! The ids in a path.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};

use crate::http::error::{ApiError, Fault, RequestPart};

/// The `{id}` in a path.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub i64);

impl FromRequest for Id {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(path_id(request, "id").map(Id))
    }
}

/// The `{tokenId}` in a path.
#[derive(Debug, Clone, Copy)]
pub struct TokenId(pub i64);
/// The `{sessionId}` in a path.
#[derive(Debug, Clone, Copy)]
pub struct SessionId(pub i64);

impl FromRequest for TokenId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(path_id(request, "tokenId").map(TokenId))
    }
}

impl FromRequest for SessionId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(path_id(request, "sessionId").map(SessionId))
    }
}

fn path_id(request: &HttpRequest, name: &str) -> Result<i64, ApiError> {
    let text = request.match_info().get(name).unwrap_or_default();
    // `i64::from_str` would accept a plus sign too.
    let id = text.parse().ok().filter(|id| *id >= 1 && text.bytes().all(|b| b.is_ascii_digit()));
    id.ok_or_else(|| {
        let message = format!("must be a whole number from 1 to {}", i64::MAX);
        ApiError::Validation(vec![Fault::new(RequestPart::Path, name, message)])
    })
}

described_as!(Id, actix_web::web::Path<IdPath>,);
described_as!(TokenId, actix_web::web::Path<TokenIdPath>,);
described_as!(SessionId, actix_web::web::Path<SessionIdPath>,);

#[derive(paperclip::actix::Apiv2Schema, serde::Deserialize)]
#[expect(dead_code, reason = "only described")]
struct IdPath {
    /// The id.
    id: i64,
}

#[derive(paperclip::actix::Apiv2Schema, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described")]
struct TokenIdPath {
    /// The token's id.
    token_id: i64,
}

#[derive(paperclip::actix::Apiv2Schema, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described")]
struct SessionIdPath {
    /// The session's id.
    session_id: i64,
}
