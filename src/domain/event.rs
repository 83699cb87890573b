//! The event that every change of a task becomes, and how one is decoded and checked.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::schemas;
use crate::domain::task::Task;

/// The version of the message body that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The program that wrote the event: `metadata.source`.
pub const SOURCE: &str = "taskd";

/// What happened to the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// A task was created.
    TaskCreated,
    /// A task changed.
    TaskUpdated,
    /// A task was deleted.
    TaskDeleted,
}

impl EventType {
    /// Every type.
    pub const ALL: [EventType; 3] =
        [EventType::TaskCreated, EventType::TaskUpdated, EventType::TaskDeleted];

    /// The name in the body, in the AMQP `type` property and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::TaskCreated => "TASK_CREATED",
            EventType::TaskUpdated => "TASK_UPDATED",
            EventType::TaskDeleted => "TASK_DELETED",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The task as committed.
    pub payload: Payload,
    /// Which event this is.
    pub metadata: Metadata,
}

/// The task as it was committed with the event; it is never read again later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// For `TASK_UPDATED`, what changed: see [`Task::changes_since`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Map<String, Value>>,
}

/// The identity of an event, and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// A UUID of version 7 (RFC 9562), also the AMQP `message_id` and the idempotency key.
    pub event_id: Uuid,
    /// When the change was made.
    pub timestamp: DateTime<Utc>,
    /// Always [`SOURCE`].
    pub source: String,
    /// Always [`SCHEMA_VERSION`].
    pub schema_version: u32,
}

/// The event of a change that has no row in the outbox yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's id.
    pub id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// The task after the change.
    pub payload: Payload,
}

impl NewEvent {
    /// The event of a new task.
    pub fn created(task: Task) -> NewEvent {
        NewEvent::of(EventType::TaskCreated, task, None)
    }

    /// The event of a change from `before` to `task`.
    pub fn updated(before: &Task, task: Task) -> NewEvent {
        let changes = task.changes_since(before);
        NewEvent::of(EventType::TaskUpdated, task, Some(changes))
    }

    /// The event of a deletion; `task` comes from [`Task::delete`].
    pub fn deleted(task: Task) -> NewEvent {
        NewEvent::of(EventType::TaskDeleted, task, None)
    }

    fn of(event_type: EventType, task: Task, changes: Option<Map<String, Value>>) -> NewEvent {
        NewEvent { id: Uuid::now_v7(), event_type, payload: Payload { task, changes } }
    }
}

/// Why a message can't be an event of ours. This is final: the same bytes will never be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The AMQP property is absent.
    #[error("the message has no message_id property")]
    NoMessageId,
    /// The body is longer than any event can be.
    #[error("the body has {0} bytes, more than the {MAX_BODY_BYTES} an event may have")]
    TooLarge(usize),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// This program doesn't know the type in the body.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The body breaks the schema of its type.
    #[error("the body breaks the schema of its type: {0}")]
    Schema(String),
    /// Two parts of the message that must agree don't.
    #[error("{property} says {found:?}, the body says {body:?}")]
    Mismatch {
        /// The AMQP property.
        property: &'static str,
        /// Its value.
        found: String,
        /// What the body says instead.
        body: String,
    },
}

/// No event is longer: a description of 10,000 characters occurs in it at most three times
/// (payload, from, to), and a character takes at most 12 bytes in JSON.
pub const MAX_BODY_BYTES: usize = 512 * 1024;

/// A third of how many characters of a foreign text go into an error message.
const QUOTED_CHARS: usize = 80;

impl Event {
    /// Reads a message: its body must fit the schema of its type, and the properties `message_id`
    /// (required) and `type` (if present) must agree with the body.
    pub fn decode(
        body: &[u8],
        message_id: Option<&str>,
        type_property: Option<&str>,
    ) -> Result<Event, Malformed> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Malformed::TooLarge(body.len()));
        }
        let value: Value =
            serde_json::from_slice(body).map_err(|e| Malformed::NotJson(e.to_string()))?;
        let event_type = match value.get("type") {
            Some(Value::String(name)) => EventType::from_name(name)
                .ok_or_else(|| Malformed::UnknownType(quoted(&format!("{name:?}"))))?,
            Some(other) => return Err(Malformed::UnknownType(quoted(&other.to_string()))),
            None => return Err(Malformed::UnknownType("(the body has no member \"type\")".into())),
        };
        // None of our APIs takes one and the database can't store it, so a retry is of no use.
        if has_nul(&value) {
            return Err(Malformed::Schema("a text contains the NUL character".into()));
        }
        schemas::check(event_type, &value).map_err(|why| Malformed::Schema(quoted(&why)))?;
        let event: Event =
            serde_json::from_value(value).map_err(|e| Malformed::Schema(quoted(&e.to_string())))?;

        let message_id = message_id.ok_or(Malformed::NoMessageId)?;
        let event_id = event.metadata.event_id.to_string();
        if !message_id.eq_ignore_ascii_case(&event_id) {
            return Err(Malformed::Mismatch {
                property: "message_id",
                found: quoted(message_id),
                body: event_id,
            });
        }
        match type_property {
            Some(found) if found != event_type.as_str() => Err(Malformed::Mismatch {
                property: "type",
                found: quoted(found),
                body: event_type.as_str().into(),
            }),
            _ => Ok(event),
        }
    }

    /// The message body.
    #[expect(
        clippy::expect_used,
        reason = "maps with string keys, strings and numbers: always JSON"
    )]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an event is JSON")
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(name, v)| name.contains('\0') || has_nul(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(QUOTED_CHARS * 3).collect();
    if chars.next().is_some() { format!("{head}…") } else { head }
}

#[cfg(test)]
mod tests;
