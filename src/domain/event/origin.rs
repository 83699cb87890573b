//! Where a change comes from: who made it, in which request, and why.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where a change comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Who made the change.
    pub actor: Actor,
    /// The event that this one follows from.
    #[serde(default)]
    pub causation_id: Option<Uuid>,
    /// The request that made it, which is kept with the event and is not part of the message.
    #[serde(skip)]
    pub request: Option<RequestContext>,
}

impl Origin {
    /// A change of this actor, which no other event caused.
    pub fn of(actor: Actor) -> Origin {
        Origin { actor, causation_id: None, request: None }
    }

    /// The same, made in this request.
    pub fn within(self, request: RequestContext) -> Origin {
        Origin { request: Some(request), ..self }
    }

    /// The id of the request, if it is known.
    pub fn request_id(&self) -> Option<&str> {
        self.request.as_ref().map(|request| request.id.as_str())
    }

    /// The trace context of the request, if it has one.
    pub fn traceparent(&self) -> Option<&str> {
        self.request.as_ref()?.traceparent.as_deref()
    }
}

/// The request in which a change was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// Its id, which is in log lines and in the response.
    pub id: String,
    /// Its trace context, a `traceparent` by <https://www.w3.org/TR/trace-context/>, if it has one.
    pub traceparent: Option<String>,
}

/// Who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Which sort of actor.
    pub kind: ActorKind,
    /// The id of the user or the token; `None` for the others.
    pub id: Option<i64>,
}

/// The sorts of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A user who has signed in.
    User,
    /// An API token.
    Token,
    /// Whoever operates this instance: where no token is required, everybody is.
    Operator,
    /// taskd itself.
    System,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [ActorKind; 4] =
        [ActorKind::User, ActorKind::Token, ActorKind::Operator, ActorKind::System];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ActorKind::User => "user",
            ActorKind::Token => "token",
            ActorKind::Operator => "operator",
            ActorKind::System => "system",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<ActorKind> {
        ActorKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// As in log lines: `user 7`, `operator`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        self.id.map_or(Ok(()), |id| write!(f, " {id}"))
    }
}

impl Actor {
    /// Whoever operates this instance.
    pub const OPERATOR: Actor = Actor { kind: ActorKind::Operator, id: None };
    /// taskd itself.
    pub const SYSTEM: Actor = Actor { kind: ActorKind::System, id: None };

    /// A user who has signed in.
    pub fn user(id: i64) -> Actor {
        Actor { kind: ActorKind::User, id: Some(id) }
    }

    /// An API token.
    pub fn token(id: i64) -> Actor {
        Actor { kind: ActorKind::Token, id: Some(id) }
    }
}
