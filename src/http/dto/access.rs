//! Signing in, and API tokens.

use chrono::{DateTime, Utc};
use garde::Validate;
use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Serialize};

use super::task::Moment;
use super::{UserView, not_blank};
use crate::domain::user::{EMAIL, GIVEN_PASSWORD, Role, TOKEN_NAME};
use crate::http::extract::fields::{Fields, FromFields};
use crate::store::accounts::tokens::TokenSummary;

/// Who wants to sign in.
#[derive(Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct SessionInput {
    /// The user's, in any case.
    #[garde(length(chars, min = EMAIL.min, max = EMAIL.max))]
    pub email: String,
    /// The user's.
    #[garde(length(chars, min = GIVEN_PASSWORD.min, max = GIVEN_PASSWORD.max))]
    pub password: String,
}

impl FromFields for SessionInput {
    const SECRETS: &'static [&'static str] = &["password"];

    fn from_fields(fields: &mut Fields) -> SessionInput {
        let input =
            SessionInput { email: fields.required("email"), password: fields.required("password") };
        fields.validate(&input);
        input
    }
}

/// A session. The token is shown here alone.
#[derive(Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Session")]
pub struct SessionView {
    /// To be sent as `Authorization: Bearer …`.
    pub token: String,
    /// From when on it is of no use.
    pub expires_at: DateTime<Utc>,
    /// Who has signed in.
    pub user: UserView,
}

/// Who sends a request, and how it has shown that.
#[derive(Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "CurrentSession")]
pub struct CurrentSessionView {
    /// Who asks; null where no token is required.
    pub user: Option<UserView>,
    /// What it has shown: `session` or `token` for a token of that kind, `none` where none is
    /// required.
    pub kind: String,
    /// What the caller may do.
    pub role: Role,
    /// From when on the token is of no use; null for never, and where there is none.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API token to be made.
#[derive(Debug, Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInput {
    /// What it is for; not blank.
    #[garde(length(chars, min = TOKEN_NAME.min, max = TOKEN_NAME.max), custom(not_blank))]
    pub name: String,
    /// From when on it is of no use (RFC 3339). Null for as late as may be: after
    /// TOKEN_MAX_LIFETIME, or when the API token that asks for it ends.
    #[garde(skip)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl FromFields for TokenInput {
    fn from_fields(fields: &mut Fields) -> TokenInput {
        let input = TokenInput {
            name: fields.required("name"),
            expires_at: fields.optional::<Moment>("expiresAt").map(|moment| moment.0),
        };
        if input.expires_at.is_some_and(|at| at <= Utc::now()) {
            fields.fault("expiresAt", "must be in the future");
        }
        fields.validate(&input);
        input
    }
}

/// An API token, without the token itself.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Token")]
pub struct TokenView {
    /// Assigned by the database.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is of no use.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; null if it never was.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl From<TokenSummary> for TokenView {
    fn from(token: TokenSummary) -> TokenView {
        TokenView {
            id: token.id,
            name: token.name,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// An API token that was made just now. The token is shown here alone.
#[derive(Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "NewToken")]
pub struct NewTokenView {
    /// Assigned by the database.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// To be sent as `Authorization: Bearer …`.
    pub token: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is of no use.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A session, without its token.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "OpenSession")]
pub struct OpenSessionView {
    /// Assigned by the database.
    pub id: i64,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When somebody signed in.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; null if it never was.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl From<(bool, TokenSummary)> for OpenSessionView {
    fn from((current, session): (bool, TokenSummary)) -> OpenSessionView {
        OpenSessionView {
            id: session.id,
            current,
            created_at: session.created_at,
            expires_at: session.expires_at,
            last_used_at: session.last_used_at,
        }
    }
}
