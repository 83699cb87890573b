//! Who asks: tokens, passwords, and the callers they stand for.

mod grant;
mod passwords;
mod seal;
mod tokens;

pub use grant::{Grant, GrantError, Granted, grant};
pub use passwords::{Asker, PasswordError, Passwords};
pub use seal::Seal;
pub use tokens::{Tokens, issue, issue_session, issue_token};

use crate::domain::user::Role;
use crate::store::accounts::tokens::Holder;

/// Who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody is asked for a token here (`--auth none`), and whoever comes may do everything.
    Anybody,
    /// The holder of a token.
    Known(Holder),
}

impl Caller {
    /// The user, where one is known.
    pub fn user_id(&self) -> Option<i64> {
        match self {
            Caller::Anybody => None,
            Caller::Known(holder) => Some(holder.user_id),
        }
    }

    /// The holder of its token, where it has one.
    pub fn holder(&self) -> Option<Holder> {
        match self {
            Caller::Anybody => None,
            Caller::Known(holder) => Some(*holder),
        }
    }

    /// Whether it may see and change what is others'.
    pub fn is_admin(&self) -> bool {
        match self {
            Caller::Anybody => true,
            Caller::Known(holder) => holder.role == Role::Admin,
        }
    }

    /// The user whose things alone it may see and change; `None` if it may everybody's.
    pub fn confined_to(&self) -> Option<i64> {
        self.user_id().filter(|_| !self.is_admin())
    }

    /// Whether something of this user is there for it at all.
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
    fn a_member_sees_its_own_and_an_admin_all() {
        let holder = Holder {
            token_id: 1,
            kind: Kind::Api,
            expires_at: None,
            user_id: 7,
            role: Role::Member,
        };
        let member = Caller::Known(holder);
        let admin = Caller::Known(Holder { role: Role::Admin, ..holder });
        assert!(member.sees(Some(7)) && !member.sees(Some(8)) && !member.sees(None));
        for caller in [admin, Caller::Anybody] {
            assert!(caller.sees(Some(7)) && caller.sees(Some(8)) && caller.sees(None));
        }
    }
}
