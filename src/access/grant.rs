//! Tokens that operators make, above all the first one: nobody could ask the API for it.

use chrono::{SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::issue;
use crate::domain::text::shows_something;
use crate::domain::user::{Role, TOKEN_NAME};
use crate::ground::output::OutputError;
use crate::ground::secret::Secret;
use crate::mail::is_address;
use crate::operate::{Operator, OrderError};
use crate::store::accounts::tokens::{Kind, NewToken};
use crate::store::accounts::users::{self, UserChange};
use crate::store::{Connection, StoreError, transaction};

/// An order for an API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The user it is for: an id or an e-mail address. A new address creates a user.
    pub user: String,
    /// What the user becomes; `None` leaves it what it is, and makes a new user a member.
    pub role: Option<Role>,
    /// The token's name: what it is for.
    pub name: String,
    /// How many seconds it is valid; `None` is forever.
    pub lifetime: Option<u64>,
}

/// A token that was made.
pub struct Granted {
    /// The token's id.
    pub token_id: i64,
    /// The token itself, shown only this once.
    pub token: Secret,
    /// The user it belongs to.
    pub user_id: i64,
    /// Whether the user was created with it.
    pub is_new_user: bool,
}

/// Makes a token. `show` is called before the commit, so a token that could not be shown doesn't
/// exist.
///
/// # Errors
/// The order is invalid, or `show` or the database fails.
pub async fn grant(
    connection: &mut Connection,
    order: &Grant,
    show: impl FnOnce(&Secret) -> Result<(), OutputError>,
) -> Result<Granted, OrderError> {
    let mut refused = None;
    let outcome = transaction(connection, async |connection| {
        let made = make(connection, order).await.and_then(|granted| {
            show(&granted.token).map_err(OrderError::NotShown)?;
            Ok(granted)
        });
        made.map_err(|error| match error {
            OrderError::Store(error) => error,
            other => {
                refused = Some(other);
                StoreError::Fault("rolled back".into())
            }
        })
    })
    .await;
    outcome.map_err(|error| refused.unwrap_or(OrderError::Store(error)))
}

async fn make(connection: &mut Connection, order: &Grant) -> Result<Granted, OrderError> {
    let invalid = |field, problem: String| OrderError::Invalid { field, problem };
    if !TOKEN_NAME.allows_length_of(&order.name) || !shows_something(&order.name) {
        return Err(invalid("name", TOKEN_NAME.expected_length()));
    }
    let created_at = Utc::now().trunc_subsecs(6);
    let expires_at = match order.lifetime {
        None => None,
        Some(seconds) => Some(
            i64::try_from(seconds)
                .ok()
                .and_then(chrono::Duration::try_seconds)
                .and_then(|time| created_at.checked_add_signed(time))
                .ok_or_else(|| invalid("expires-in", "is beyond the end of time".into()))?,
        ),
    };
    let role = order.role.map(Role::as_str);
    let who = order.user.as_str();
    let id = user_id(connection, who).await?;
    let user_id = match id {
        None => {
            let change = UserChange { email: Some(who.to_owned()), role, ..UserChange::default() };
            users::insert(connection, change, created_at).await?.id
        }
        Some(id) => {
            if order.role.is_some_and(|role| role != Role::Admin) {
                spare_admins(connection, id).await?;
            }
            let change = UserChange { role, ..UserChange::default() };
            let found = match role {
                Some(_) => users::update(connection, id, change, created_at).await?,
                None => users::find(connection, id).await?,
            };
            found.ok_or_else(|| invalid("user", format!("there is no user {id}")))?.id
        }
    };
    let new = NewToken {
        user_id,
        kind: Kind::Api,
        name: Some(order.name.clone()),
        created_at,
        expires_at,
    };
    let (token_id, token) = issue(connection, new).await?;
    let target = Some(format!("token {token_id} of user {user_id}"));
    let details = json!({ "name": order.name, "expiresAt": expires_at, "role": order.role });
    let by = Operator::of_command_line();
    by.audit(connection, "create token", target, details, false).await?;
    Ok(Granted { token_id, token, user_id, is_new_user: id.is_none() })
}

/// An admin is not made something less by the way: it may be the only one.
async fn spare_admins(connection: &mut Connection, id: i64) -> Result<(), OrderError> {
    match users::find(connection, id).await? {
        Some(user) if user.role == Role::Admin.as_str() => Err(OrderError::Invalid {
            field: "user",
            problem: format!(
                "user {id} is an admin; another admin changes that: PATCH /users/{id}"
            ),
        }),
        _ => Ok(()),
    }
}

/// The id of a user who is named by an id or an e-mail address; `None` if no user has this address.
/// An id is returned as it is, whether a user has it or not.
pub(super) async fn user_id(
    connection: &mut Connection,
    who: &str,
) -> Result<Option<i64>, OrderError> {
    match who.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) if is_address(who) => Ok(users::id_of(connection, who).await?),
        Err(_) => Err(OrderError::Invalid {
            field: "user",
            problem: format!("{who:?} is neither a user's id nor an e-mail address"),
        }),
    }
}
