//! What happens to webhooks, as events: their owners are told by mail.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::event::{Actor, Event, EventType, NewEvent, Origin, Owners, Subject};

/// The kind of subject that a webhook is.
pub const KIND: &str = "webhook";

/// No delivery has succeeded for a day.
pub const FAILING: EventType = EventType {
    name: "WEBHOOK_FAILING",
    kind: KIND,
    description: "No delivery to a webhook has succeeded for a day.",
    payload,
    example: || example("failing"),
    readable,
};

/// A webhook was disabled.
pub const DISABLED: EventType = EventType {
    name: "WEBHOOK_DISABLED",
    kind: KIND,
    description: "A webhook was disabled, since it answered 410 or no delivery succeeded for five days.",
    payload,
    example: || example("gone"),
    readable,
};

/// What an event says of a webhook. Its URL may have a secret in it, so only the host is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// The webhook's id.
    pub id: i64,
    /// Counts the events that are about it.
    pub version: i64,
    /// Whose it is.
    pub user_id: Option<i64>,
    /// What it is for.
    pub description: Option<String>,
    /// The host of its URL.
    pub host: String,
    /// `failing`, or `gone` if it has answered 410.
    pub reason: String,
    /// Since when no delivery has succeeded.
    pub failing_since: Option<DateTime<Utc>>,
}

impl Trouble {
    /// The event that tells of it.
    pub fn event(&self, event_type: EventType, at: DateTime<Utc>) -> NewEvent {
        let subject = Subject { kind: KIND, id: self.id, version: self.version };
        let owners = Owners { before: self.user_id, after: self.user_id };
        NewEvent::new(event_type, subject, json!(self), at, Origin::of(Actor::SYSTEM), owners)
    }

    /// What an event says of a webhook; `None` if it is about something else.
    pub fn of(event: &Event) -> Option<Trouble> {
        (event.subject.kind == KIND).then(|| Trouble::deserialize(&event.payload).ok()).flatten()
    }
}

fn payload() -> Value {
    json!({
        "type": "object",
        "required": ["id", "version", "userId", "description", "host", "reason", "failingSince"],
        "additionalProperties": false,
        "properties": {
            "id": { "type": "integer", "minimum": 1, "description": "The webhook's id." },
            "version": { "type": "integer", "minimum": 1, "description": "Counts the events that are about it." },
            "userId": { "type": ["integer", "null"], "description": "Whose it is." },
            "description": { "type": ["string", "null"], "description": "What it is for." },
            "host": { "type": "string", "description": "The host of its URL." },
            "reason": { "enum": ["failing", "gone"], "description": "`gone` if it has answered 410." },
            "failingSince": {
                "type": ["string", "null"], "format": "date-time",
                "description": "Since when no delivery has succeeded.",
            },
        },
    })
}

fn example(reason: &str) -> Value {
    json!({
        "id": 3, "version": 1, "userId": 1, "description": "Billing", "host": "example.com",
        "reason": reason, "failingSince": "2026-01-01T09:30:00Z",
    })
}

fn readable(payload: &Value) -> Result<(), String> {
    Trouble::deserialize(payload).map(drop).map_err(|error| format!("/payload: {error}"))
}
