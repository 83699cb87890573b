//! Lists and ends tokens and sessions for operators.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::grant::user_id;
use crate::operate::{Operator, OrderError};
use crate::store::accounts::tokens::{self, Kind, TokenWithUser};
use crate::store::accounts::{credentials, users};
use crate::store::{Connection, transaction};

/// How many rows are read at a time.
const PAGE: i64 = 1_000;

/// Which tokens and sessions to list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenFilter {
    /// Whose: a user's id or e-mail address; `None` for everybody's.
    pub user: Option<String>,
}

/// The tokens and sessions that are still valid, ascending by id.
///
/// # Errors
/// There is no such user, or the database fails.
pub async fn list(
    connection: &mut Connection,
    order: &TokenFilter,
) -> Result<Vec<TokenWithUser>, OrderError> {
    let user = match &order.user {
        Some(who) => Some(existing(connection, who).await?),
        None => None,
    };
    let mut rows: Vec<TokenWithUser> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| row.id);
        let page = tokens::list_all(connection, user, after, PAGE).await?;
        let more = page.len() as i64 == PAGE;
        rows.extend(page);
        if !more {
            return Ok(rows);
        }
    }
}

/// Which tokens and sessions to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Revocation {
    /// Those with these ids.
    Ids(Vec<i64>),
    /// All of a user, who is named by id or e-mail address.
    AllOf(String),
}

/// What was ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// How many tokens and sessions.
    pub count: usize,
    /// Those of the ids in the order that existed; empty if the order was about a user.
    pub ids: Vec<i64>,
}

/// Ends tokens and sessions. Every instance notices within 5 s.
///
/// # Errors
/// There is no such user, or the database fails.
pub async fn revoke(
    connection: &mut Connection,
    order: &Revocation,
) -> Result<Revoked, OrderError> {
    let by = Operator::of_command_line();
    match order {
        Revocation::Ids(ids) => {
            let ids = transaction(connection, async |connection| {
                let ids = credentials::revoke(connection, ids.clone()).await?;
                let details = json!({ "tokens": ids });
                by.audit(connection, "revoke token", None, details, false).await?;
                Ok(ids)
            })
            .await?;
            Ok(Revoked { count: ids.len(), ids })
        }
        Revocation::AllOf(who) => {
            let user = existing(connection, who).await?;
            let count = transaction(connection, async |connection| {
                let mut count = 0;
                for kind in [Kind::Api, Kind::Session] {
                    let ended = credentials::end_all(connection, user, kind).await?;
                    let Some(ended) = ended else { return Ok(None) };
                    count += ended;
                }
                let (target, details) =
                    (Some(format!("token * of user {user}")), json!({ "count": count }));
                by.audit(connection, "revoke token", target, details, false).await?;
                Ok(Some(count))
            })
            .await?;
            let count = count.ok_or_else(|| no_such_user(who))?;
            Ok(Revoked { count, ids: Vec::new() })
        }
    }
}

async fn existing(connection: &mut Connection, who: &str) -> Result<i64, OrderError> {
    let found = match user_id(connection, who).await? {
        Some(id) => users::find(connection, id).await?,
        None => None,
    };
    found.map(|user| user.id).ok_or_else(|| no_such_user(who))
}

fn no_such_user(who: &str) -> OrderError {
    OrderError::Invalid { field: "user", problem: format!("there is no user {who}") }
}
