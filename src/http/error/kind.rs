//! What each error is called.

use actix_web::http::StatusCode;

use super::ApiError;

impl ApiError {
    /// HTTP status, stable code, and title.
    pub fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            ApiError::Validation(_) => {
                (StatusCode::BAD_REQUEST, "validation_failed", "The request is not valid")
            }
            ApiError::MalformedJson(_) => {
                (StatusCode::BAD_REQUEST, "malformed_json", "The body is not JSON")
            }
            ApiError::UnsupportedMediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
            ),
            ApiError::UnsupportedEncoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
                "Encoded bodies are not supported",
            ),
            ApiError::UpgradeUnsupported => (
                StatusCode::BAD_REQUEST,
                "upgrade_unsupported",
                "Protocol upgrades are not supported",
            ),
            ApiError::AfterClose => {
                (StatusCode::BAD_REQUEST, "connection_closed", "The connection is closing")
            }
            ApiError::SlowBody => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request took too long")
            }
            ApiError::PayloadTooLarge(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large")
            }
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            ApiError::CursorGone(_) => {
                (StatusCode::GONE, "cursor_gone", "The cursor is not valid any more")
            }
            ApiError::RouteNotFound => (StatusCode::NOT_FOUND, "route_not_found", "Not found"),
            ApiError::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
            }
            ApiError::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "A token is needed")
            }
            ApiError::InvalidToken => {
                (StatusCode::UNAUTHORIZED, "invalid_token", "The token is not valid")
            }
            ApiError::BadCredentials => {
                (StatusCode::UNAUTHORIZED, "bad_credentials", "Wrong e-mail address or password")
            }
            ApiError::WrongPassword => {
                (StatusCode::FORBIDDEN, "wrong_password", "The current password is wrong")
            }
            ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            ApiError::EmailTaken => {
                (StatusCode::CONFLICT, "email_taken", "The e-mail address is taken")
            }
            ApiError::CategoryNameTaken => {
                (StatusCode::CONFLICT, "category_name_taken", "The category's name is taken")
            }
            ApiError::TooManyTokens => {
                (StatusCode::CONFLICT, "too_many_tokens", "The user has too many API tokens")
            }
            ApiError::TooManyWebhooks => {
                (StatusCode::CONFLICT, "too_many_webhooks", "There are too many webhooks")
            }
            ApiError::WebhookDisabled => {
                (StatusCode::CONFLICT, "webhook_disabled", "The webhook is disabled")
            }
            ApiError::NoSecretKey(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_secret_key",
                "SECRET_KEY is not as it must be",
            ),
            ApiError::LastAdmin => (StatusCode::CONFLICT, "last_admin", "There must be an admin"),
            ApiError::IdempotencyKeyInUse => (
                StatusCode::CONFLICT,
                "idempotency_key_in_use",
                "The first request is still in progress",
            ),
            ApiError::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The key was used for another request",
            ),
            ApiError::WriteConflict => {
                (StatusCode::CONFLICT, "write_conflict", "Another update came first")
            }
            ApiError::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "The task has another version",
            ),
            ApiError::RateLimited(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests")
            }
            ApiError::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable")
            }
            ApiError::Timeout => {
                (StatusCode::SERVICE_UNAVAILABLE, "timeout", "The request timed out")
            }
            ApiError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }
}
