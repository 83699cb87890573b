//! What a user may do.

use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Serialize};

/// What a user is to the system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Apiv2Schema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees and changes its own tasks and itself, and reads the categories.
    #[default]
    Member,
    /// Sees and changes everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 2] = [Role::Member, Role::Admin];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }
}
