//! The canary: an event about nothing, which `taskd doctor --canary` sends through everything.
//!
//! It is no change of anybody's, so it is in no list and no log, and has no record. Workers know it
//! besides the types of the catalog.

use chrono::Utc;
use serde_json::{Value, json};

use crate::domain::event::{Actor, EventType, NewEvent, Origin, Owners, Subject};

/// The kind of subject that a canary is.
pub const KIND: &str = "canary";

/// The name of the one effect that a canary has, and that nothing else has.
pub const EFFECT: &str = "canary";

/// A canary was sent.
pub const SENT: EventType = EventType {
    name: "SYSTEM_CANARY",
    kind: KIND,
    description: "A canary was sent.",
    payload,
    example: || json!({ "id": 1, "version": 1 }),
    readable: |_| Ok(()),
};

fn payload() -> Value {
    json!({
        "type": "object",
        "required": ["id", "version"],
        "properties": { "id": { "type": "integer" }, "version": { "type": "integer" } },
    })
}

/// A new canary.
pub fn event() -> NewEvent {
    let subject = Subject { kind: KIND, id: 1, version: 1 };
    let (owners, origin) = (Owners { before: None, after: None }, Origin::of(Actor::SYSTEM));
    NewEvent::new(SENT, subject, json!({ "id": 1, "version": 1 }), Utc::now(), origin, owners)
}
