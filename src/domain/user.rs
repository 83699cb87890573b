//! What a user may do, and the rules of a user's fields.

use serde::{Deserialize, Serialize};

use crate::domain::field::TextRule;

/// An e-mail address (RFC 5321, section 4.5.3.1.3, counts its brackets among 256).
pub const EMAIL: TextRule = TextRule { min: 1, max: 254, not_blank: false };
/// What to call a user.
pub const NAME: TextRule = TextRule { min: 1, max: 100, not_blank: true };
/// A new password.
pub const PASSWORD: TextRule = TextRule { min: 8, max: 128, not_blank: false };
/// A password to be compared with the one there is.
pub const GIVEN_PASSWORD: TextRule = TextRule { min: 1, max: 128, not_blank: false };
/// What an API token is for.
pub const TOKEN_NAME: TextRule = TextRule { min: 1, max: 100, not_blank: true };

/// What a user is to the system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees and changes its own tasks and itself, and reads the categories.
    #[default]
    Member,
    /// Sees what an admin sees of tasks, users, categories and the operation of taskd, and changes
    /// nothing but its own password.
    Viewer,
    /// Sees and changes everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Member, Role::Viewer, Role::Admin];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Viewer => "viewer",
            Role::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }
}
