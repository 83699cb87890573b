//! Authentication: tokens, passwords, and the callers they stand for.

mod grant;
mod overview;
mod passwords;
mod seal;
mod tokens;

pub use grant::{Grant, Granted, grant};
pub use overview::{Revocation, Revoked, TokenFilter, list, revoke};
pub use passwords::{HashRequester, PasswordError, Passwords};
pub use seal::{Purpose, Seal};
pub use tokens::{Tokens, issue, issue_session, issue_token};

use crate::domain::event::Actor;
use crate::domain::user::Role;
use crate::store::accounts::tokens::Holder;

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// No token is required (`--auth none`), and every caller may do anything.
    Anybody,
    /// The holder of a valid token.
    Holder(Holder),
}

impl Caller {
    /// The user, if the caller has a token.
    pub fn user_id(&self) -> Option<i64> {
        match self {
            Caller::Anybody => None,
            Caller::Holder(holder) => Some(holder.user_id),
        }
    }

    /// The holder of the token, if the caller has one.
    pub fn holder(&self) -> Option<Holder> {
        match self {
            Caller::Anybody => None,
            Caller::Holder(holder) => Some(*holder),
        }
    }

    /// The caller as the actor of a change.
    pub fn actor(&self) -> Actor {
        match self {
            Caller::Anybody => Actor::OPERATOR,
            Caller::Holder(holder) => holder.actor(),
        }
    }

    /// What the caller is to the system. Whoever needs no token may do what an admin may.
    pub fn role(&self) -> Role {
        match self {
            Caller::Anybody => Role::Admin,
            Caller::Holder(holder) => holder.role,
        }
    }

    /// Whether the caller may see and change what belongs to others.
    pub fn is_admin(&self) -> bool {
        self.role() == Role::Admin
    }

    /// Whether the caller looks and changes nothing.
    pub fn is_viewer(&self) -> bool {
        self.role() == Role::Viewer
    }

    /// Whether the caller may see how taskd operates: events, dead letters, processes, metrics.
    pub fn sees_operation(&self) -> bool {
        matches!(self.role(), Role::Viewer | Role::Admin)
    }

    /// The user whose resources alone the caller may see and change; `None` if it may see all.
    pub fn confined_to(&self) -> Option<i64> {
        self.user_id().filter(|_| self.role() == Role::Member)
    }

    /// Whether the caller may see a resource of this owner.
    pub fn sees(&self, owner: Option<i64>) -> bool {
        match self.confined_to() {
            None => true,
            own => own == owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts::tokens::Kind;

    #[test]
    fn a_member_sees_its_own_and_others_see_all() {
        let holder = Holder {
            token_id: 1,
            kind: Kind::Api,
            expires_at: None,
            user_id: 7,
            role: Role::Member,
        };
        let member = Caller::Holder(holder);
        let admin = Caller::Holder(Holder { role: Role::Admin, ..holder });
        let viewer = Caller::Holder(Holder { role: Role::Viewer, ..holder });
        assert!(member.sees(Some(7)) && !member.sees(Some(8)) && !member.sees(None));
        for caller in [admin, viewer, Caller::Anybody] {
            assert!(caller.sees(Some(7)) && caller.sees(Some(8)) && caller.sees(None));
            assert!(caller.sees_operation());
        }
        assert!(admin.is_admin() && Caller::Anybody.is_admin());
        assert!(viewer.is_viewer() && !viewer.is_admin() && !member.sees_operation());
    }
}
