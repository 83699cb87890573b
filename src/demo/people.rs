//! The people of the story as clients of the API, each with a token of their own, so that events
//! say who made a change.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use super::story::{PEOPLE, Person};
use crate::access::{self, Grant, Revocation, TokenFilter, grant};
use crate::domain::user::Role;
use crate::ground::secret::Secret;
use crate::ground::tls::http_client;
use crate::operate::OrderError;
use crate::store::Store;

/// What the tokens of the people are called.
const TOKEN_NAME: &str = "story of the demo";
/// Longer than the API takes for any answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Somebody in the story who has come in.
pub(super) struct Member {
    /// The user's id.
    pub(super) id: i64,
    /// Whether the user is new, and has no name yet.
    pub(super) is_new: bool,
    pub(super) person: &'static Person,
    token: Secret,
}

/// Makes the users that are missing, and a new token for each of them in place of the one that a
/// process before has made.
///
/// # Errors
/// The database fails.
pub(super) async fn gather(store: &Store) -> Result<Vec<Member>, OrderError> {
    let mut connection = store.connection().await?;
    let tokens = access::list(&mut connection, &TokenFilter { user: None }).await?;
    let is_ours = |name: Option<&str>| name == Some(TOKEN_NAME);
    let before: Vec<i64> = tokens
        .iter()
        .filter(|token| is_ours(token.name.as_deref()))
        .map(|token| token.id)
        .collect();
    if !before.is_empty() {
        access::revoke(&mut connection, &Revocation::Ids(before)).await?;
    }
    let mut members = Vec::with_capacity(PEOPLE.len());
    for (index, person) in PEOPLE.iter().enumerate() {
        let order = Grant {
            user: person.email.to_owned(),
            role: (index == 0).then_some(Role::Admin),
            name: TOKEN_NAME.to_owned(),
            lifetime: None,
        };
        let granted = grant(&mut connection, &order, |_| Ok(())).await?;
        let (id, is_new) = (granted.user_id, granted.is_new_user);
        members.push(Member { id, is_new, person, token: granted.token });
    }
    Ok(members)
}

/// Why somebody's request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// There was no answer, as while the process stops.
    #[error("no answer: {0}")]
    Silent(#[from] reqwest::Error),
    /// The answer was an error.
    #[error("{method} {path} is answered {status}: {text}")]
    Refused { method: Method, path: String, status: u16, text: String },
}

/// The API of this process, from outside.
pub(super) struct Api {
    client: Client,
    base: String,
}

impl Api {
    /// The API at this address of this machine.
    pub(super) fn at(address: SocketAddr) -> Result<Api, AskError> {
        let client = http_client().no_proxy().timeout(PATIENCE).build()?;
        Ok(Api { client, base: format!("http://{address}") })
    }

    /// Sends a request of a member. Returns the document of the answer, or null if it has none.
    ///
    /// # Errors
    /// There is no answer, or it is an error.
    pub(super) async fn ask(
        &self,
        by: &Member,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AskError> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        let mut request = request.bearer_auth(by.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            let (path, status) = (path.to_owned(), status.as_u16());
            return Err(AskError::Refused { method, path, status, text });
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}
