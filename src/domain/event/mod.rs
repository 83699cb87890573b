//! The event that every change becomes. An event is about a subject; tasks are one kind of subject.

pub mod cloud_event;
mod decode;
mod origin;
pub mod snapshot;
mod types;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use decode::{MAX_BODY_BYTES, Malformed};
pub use origin::{Actor, ActorKind, Origin, RequestContext};
pub use types::{EventType, EventTypes};

/// The version of the message body that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The program that wrote the event: `metadata.source`.
pub const SOURCE: &str = "taskd";

/// The id of the examples: of version 7, made at the time that they have.
const EXAMPLE_ID: Uuid = Uuid::from_u128(0x019b_7e0a_ddc0_7000_8000_0000_0000_0001);

/// The body of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// To which subject.
    pub subject: Subject,
    /// The subject as it was committed with the event, a JSON object. It is never read again later.
    pub payload: Value,
    /// Which event this is.
    pub metadata: Metadata,
}

impl Event {
    /// An example of an event of this type, for people.
    pub fn example(event_type: EventType) -> Event {
        let payload = (event_type.example)();
        let number = |name: &str| payload[name].as_i64().unwrap_or(1);
        let subject =
            Subject { kind: event_type.kind, id: number("id"), version: number("version") };
        let timestamp = DateTime::from_timestamp(1_767_346_200, 0).unwrap_or_default();
        let origin = Origin::of(Actor::user(1));
        let metadata = Metadata::new(EXAMPLE_ID, timestamp, Some(origin));
        Event { event_type, subject, payload, metadata }
    }

    /// The message body.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.event_type.name, &self.payload, &self.metadata)
    }
}

/// Encodes the body of a message; `payload` is a JSON object.
#[expect(clippy::expect_used, reason = "strings, numbers and a JSON document: always JSON")]
pub fn encode(event_type: &str, payload: &impl Serialize, metadata: &Metadata) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a, P> {
        r#type: &'a str,
        payload: &'a P,
        metadata: &'a Metadata,
    }
    serde_json::to_vec(&Body { r#type: event_type, payload, metadata }).expect("a body is JSON")
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Subject {
    /// The kind of subject, such as `task`.
    pub kind: &'static str,
    /// Its id, unique among its kind.
    pub id: i64,
    /// Its version after the change. Each change has the next one.
    pub version: i64,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// The identity of an event, its time, and where it comes from.
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
    /// Who made the change and why. `None` in events of versions that did not record it; then the
    /// body has neither member.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Whose a subject was and is: the users who may know of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owners {
    /// The user before the change.
    pub before: Option<i64>,
    /// The user after it.
    pub after: Option<i64>,
}

/// An event that is not in the outbox yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's id.
    pub id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// To which subject. The id of a new subject is 0 until the database has assigned one.
    pub subject: Subject,
    /// The subject after the change.
    pub payload: Value,
    /// When the change was made.
    pub occurred_at: DateTime<Utc>,
    /// Who made it.
    pub origin: Origin,
    /// Whose the subject is.
    pub owners: Owners,
}

impl NewEvent {
    /// An event under a new id.
    pub fn new(
        event_type: EventType,
        subject: Subject,
        payload: Value,
        occurred_at: DateTime<Utc>,
        origin: Origin,
        owners: Owners,
    ) -> NewEvent {
        let id = Uuid::now_v7();
        NewEvent { id, event_type, subject, payload, occurred_at, origin, owners }
    }

    /// Sets the id that the database has assigned to a new subject.
    pub fn assign(&mut self, id: i64) {
        self.subject.id = id;
        self.payload["id"] = id.into();
    }

    /// The metadata of its message.
    pub fn metadata(&self) -> Metadata {
        let origin = Origin { request: None, ..self.origin.clone() };
        Metadata::new(self.id, self.occurred_at, Some(origin))
    }
}

impl From<NewEvent> for Event {
    /// The event as it is read from its message.
    fn from(new: NewEvent) -> Event {
        let metadata = new.metadata();
        Event { event_type: new.event_type, subject: new.subject, payload: new.payload, metadata }
    }
}

impl Metadata {
    /// The metadata of an event of this version of taskd.
    pub fn new(event_id: Uuid, timestamp: DateTime<Utc>, origin: Option<Origin>) -> Metadata {
        let source = SOURCE.to_owned();
        Metadata { event_id, timestamp, source, schema_version: SCHEMA_VERSION, origin }
    }
}

#[cfg(test)]
mod tests;
