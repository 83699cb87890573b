//! How errors of other modules become errors for the client.

use super::ApiError;
use crate::access::PasswordError;
use crate::feed::FeedError;
use crate::http::request_id::RequestId;
use crate::store::StoreError;
use crate::store::accounts::credentials::Refusal;

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> ApiError {
        match error {
            PasswordError::Busy => ApiError::Unavailable,
            PasswordError::Failed => {
                tracing::error!(request_id = RequestId::current(), %error, "answering 500");
                ApiError::Internal
            }
        }
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> ApiError {
        match error {
            FeedError::Gone(why) => ApiError::CursorGone(why),
            FeedError::Store(error) => error.into(),
        }
    }
}

/// Violations that mean something to a client are mapped where they can occur.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let request_id = RequestId::current();
        match error {
            StoreError::Unavailable(_) | StoreError::Refused(_) | StoreError::Conflict(_) => {
                tracing::warn!(request_id, %error, "answering 503");
                ApiError::Unavailable
            }
            StoreError::TooSlow(_) => {
                tracing::warn!(request_id, %error, "answering 503");
                ApiError::Timeout
            }
            StoreError::Denied(Refusal::StalePassword) => ApiError::WrongPassword,
            StoreError::Denied(Refusal::Ended) => ApiError::InvalidToken,
            StoreError::Denied(Refusal::TooManyTokens) => ApiError::TooManyTokens,
            StoreError::Denied(Refusal::LastAdmin) => ApiError::LastAdmin,
            StoreError::Missing(_) | StoreError::Taken(_) | StoreError::Fault(_) => {
                tracing::error!(request_id, %error, "answering 500");
                ApiError::Internal
            }
        }
    }
}
