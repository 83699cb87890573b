//! Every error that a client can get, and the one place that turns errors into responses: problem
//! documents (RFC 9457) with stable codes.

mod kind;
mod sources;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use paperclip::v2::schema::Apiv2Errors;
use serde::Serialize;

use crate::domain::webhook::MOST_OF_A_USER;
use crate::http::fault::summary;
pub use crate::http::fault::{Fault, RequestPart};
use crate::http::request_id::RequestId;
use crate::store::accounts::credentials::MOST_TOKENS;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// When to retry, in seconds: a dependency that restarts is usually back by then.
const RETRY_AFTER_SECONDS: u32 = 2;

/// An error, as the client sees it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// The request was understood, but these parts of it are wrong.
    #[error("{}", summary(.0))]
    Validation(Vec<Fault>),
    /// The body is not valid JSON.
    #[error("the body is not JSON: {0}")]
    MalformedJson(String),
    /// The body has another media type than this one.
    #[error("the body must be {0}")]
    UnsupportedMediaType(&'static str),
    /// The body is compressed.
    #[error("the body must be sent as it is, without Content-Encoding")]
    UnsupportedEncoding,
    /// The request offers a websocket, and the HTTP library would take its body for the new
    /// protocol.
    #[error("only HTTP/1.1 is supported: send the request without Upgrade")]
    UpgradeUnsupported,
    /// An earlier request on this connection said that it was the last.
    #[error("an earlier request asked to close this connection; nothing was done")]
    AfterClose,
    /// The body is longer than this many bytes.
    #[error("the body has more than {0} bytes")]
    PayloadTooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    SlowBody,
    /// There is no such resource; the text names its kind.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A cursor leads nowhere any more; the text says why and what to do.
    #[error("{0}")]
    CursorGone(&'static str),
    /// No route has this path.
    #[error("no such path; /openapi.json lists the paths")]
    RouteNotFound,
    /// The route doesn't have this method; the text lists those it has.
    #[error("this path allows {0}")]
    MethodNotAllowed(String),
    /// The route needs a token, and the request has none.
    #[error("send a token: Authorization: Bearer …")]
    Unauthenticated,
    /// The token is unknown, revoked or expired.
    #[error("the token is unknown, revoked or expired")]
    InvalidToken,
    /// No user has this address and password.
    #[error("no user has this e-mail address and this password")]
    BadCredentials,
    /// The `currentPassword` of a change is not the user's password.
    #[error("currentPassword is not this user's password; nothing was changed")]
    WrongPassword,
    /// The caller may not do this; the text says why.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Another user has this address.
    #[error("another user has this e-mail address")]
    EmailTaken,
    /// Another category has this name.
    #[error("another category has this name")]
    CategoryNameTaken,
    /// The user already has the maximum number of API tokens.
    #[error(
        "this user has {MOST_TOKENS} API tokens, which is the most: revoke some that are not used"
    )]
    TooManyTokens,
    /// There is the maximum number of webhooks of this user already.
    #[error(
        "there are {MOST_OF_A_USER} webhooks, which is the most: delete some that are not used"
    )]
    TooManyWebhooks,
    /// The webhook is disabled, and the request would send something to it.
    #[error("the webhook is disabled: enable it first, by PATCH with enabled true")]
    WebhookDisabled,
    /// No secret of a webhook can be kept, or read; the text says what to do.
    #[error("{0}")]
    NoSecretKey(&'static str),
    /// The change would leave no admin to manage users.
    #[error("this is the only admin: make another user one first")]
    LastAdmin,
    /// A request with the same `Idempotency-Key` is being carried out.
    #[error("a request with this Idempotency-Key is being carried out; repeat it for the answer")]
    IdempotencyKeyInUse,
    /// The `Idempotency-Key` was used for another request.
    #[error("this Idempotency-Key was used for another request; take a new one")]
    IdempotencyKeyReused,
    /// Concurrent writers kept changing the task; nothing was written.
    #[error("other updates kept coming first; nothing was written")]
    WriteConflict,
    /// `If-Match` or `If-None-Match` doesn't hold for the present version; nothing was written.
    #[error("the task has another version than the precondition names; nothing was written")]
    PreconditionFailed,
    /// The client has sent too many requests, and may send the next in so many seconds.
    #[error("too many requests; the next may come in {0} s")]
    RateLimited(u32),
    /// A dependency is down. Nothing was written, unless the database was lost in mid-commit.
    #[error("a dependency of this service is not available; try again")]
    Unavailable,
    /// The request took too long. A write that it began goes on.
    #[error("the answer took too long; a change may have been made or not")]
    Timeout,
    /// An error on our side.
    #[error("something went wrong here")]
    Internal,
}

impl ApiError {
    /// The seconds after which the same request may succeed, for `Retry-After`.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            ApiError::Unavailable | ApiError::WriteConflict => Some(RETRY_AFTER_SECONDS),
            // A write takes milliseconds, but the header can't say less than a second.
            ApiError::IdempotencyKeyInUse => Some(1),
            ApiError::RateLimited(seconds) => Some(*seconds),
            _ => None,
        }
    }
}

/// The problem document as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [Fault]>,
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.kind().0
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let (status, code, title) = self.kind();
        let problem = Problem {
            r#type: format!("urn:taskd:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: self.to_string(),
            request_id: RequestId::current(),
            errors: match self {
                ApiError::Validation(faults) => Some(faults),
                _ => None,
            },
        };
        let mut response = HttpResponse::build(status);
        match self {
            ApiError::MethodNotAllowed(allow) => {
                response.insert_header((header::ALLOW, allow.as_str()));
            }
            // RFC 6750, section 3; and RFC 9110 requires a challenge with every 401.
            ApiError::Unauthenticated | ApiError::BadCredentials => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="taskd""#);
                response.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            ApiError::InvalidToken => {
                let challenge =
                    HeaderValue::from_static(r#"Bearer realm="taskd", error="invalid_token""#);
                response.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            // RFC 9110, section 12.5.3.
            ApiError::UnsupportedEncoding => {
                response.insert_header((header::ACCEPT_ENCODING, "identity"));
            }
            // Whatever else arrives on this connection is part of the body.
            ApiError::SlowBody => {
                response.force_close();
            }
            _ => {}
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        response.content_type(PROBLEM_JSON).body(serde_json::json!(problem).to_string())
    }
}

/// The OpenAPI document gets its errors from one table, in `openapi`.
impl Apiv2Errors for ApiError {}
