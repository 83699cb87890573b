//! Users.

use chrono::{DateTime, Utc};
use garde::Validate;
use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Serialize};

use super::not_blank;
use crate::domain::user::{EMAIL, GIVEN_PASSWORD, NAME, PASSWORD, Role};
use crate::http::extract::fields::{Fields, FromFields, Patch};
use crate::store::accounts::users::User;

/// A user to be made.
#[derive(Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct UserInput {
    /// Unique, whatever its case.
    #[garde(email, length(chars, max = EMAIL.max), custom(mailable))]
    pub email: String,
    /// What to call them.
    #[garde(length(chars, min = NAME.min, max = NAME.max), inner(custom(not_blank)))]
    pub name: Option<String>,
    /// Kept as an argon2id hash only.
    #[garde(length(chars, min = PASSWORD.min, max = PASSWORD.max))]
    pub password: String,
    /// What the user may do.
    #[garde(skip)]
    pub role: Role,
}

impl FromFields for UserInput {
    const SECRETS: &'static [&'static str] = &["password"];

    fn from_fields(fields: &mut Fields) -> UserInput {
        let input = UserInput {
            email: fields.required("email"),
            name: fields.optional("name"),
            password: fields.required("password"),
            role: fields.unless_absent("role").unwrap_or_default(),
        };
        fields.validate(&input);
        input
    }
}

/// A change of a user, as a merge patch (RFC 7396).
#[derive(Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct UserPatch {
    /// Unique, whatever its case.
    pub email: Patch<String>,
    /// What to call them.
    pub name: Patch<String>,
    /// Kept as an argon2id hash only. A new one ends the user's sessions and API tokens.
    pub password: Patch<String>,
    /// The password the user has now, for a new password or e-mail address of one's own; who has
    /// none yet needs none.
    pub current_password: Option<String>,
    /// With a new password: whether the user's API tokens stay good. They end if nothing is said.
    pub keep_tokens: Option<bool>,
    /// What the user may do; for admins to change.
    pub role: Patch<Role>,
}

impl FromFields for UserPatch {
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn from_fields(fields: &mut Fields) -> UserPatch {
        let email: Option<String> = fields.unless_absent("email");
        let password: Option<String> = fields.unless_absent("password");
        let current_password: Option<String> = fields.unless_absent("currentPassword");
        let keep_tokens = fields.unless_absent("keepTokens");
        if current_password.as_ref().is_some_and(|text| !GIVEN_PASSWORD.allows_length_of(text)) {
            fields.fault("currentPassword", GIVEN_PASSWORD.expected_length());
        }
        let name = fields.patch("name");
        fields.validate(&UserInput {
            email: email.clone().unwrap_or_else(|| "right@example.com".into()),
            name: name.clone().or(None),
            password: password.clone().unwrap_or_else(|| "right right".into()),
            role: Role::default(),
        });
        UserPatch {
            email: email.map_or(Patch::Absent, Patch::Set),
            name,
            password: password.map_or(Patch::Absent, Patch::Set),
            current_password,
            keep_tokens,
            role: fields.unless_absent("role").map_or(Patch::Absent, Patch::Set),
        }
    }
}

impl UserPatch {
    /// Whether it changes the password and nothing else.
    pub fn is_password_alone(&self) -> bool {
        let changes_more =
            self.email != Patch::Absent || self.name != Patch::Absent || self.role != Patch::Absent;
        matches!(self.password, Patch::Set(_)) && !changes_more
    }
}

described_as_text!(Role);

/// A user. The password is in no answer.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "User")]
pub struct UserView {
    /// Assigned by the database.
    pub id: i64,
    /// Unique, whatever its case.
    pub email: String,
    /// What to call them.
    pub name: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

impl From<User> for UserView {
    fn from(user: User) -> UserView {
        UserView {
            id: user.id,
            email: user.email,
            name: user.name,
            // The column has a check constraint with exactly these names.
            role: Role::from_name(&user.role).unwrap_or_default(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// Mail has rules of its own: a user with an address that breaks them would get no mail.
fn mailable(address: &str, _: &()) -> garde::Result {
    if crate::mail::is_address(address) {
        Ok(())
    } else {
        Err(garde::Error::new("no mail can be sent to this address"))
    }
}
