//! Reads messages as events.

use serde_json::Value;

use super::{Event, EventTypes, Metadata, Subject};

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

/// How many characters of a foreign text go into an error message.
const QUOTED_CHARS: usize = 240;

impl EventTypes {
    /// Reads a message: its body must fit the schema of its type, and the properties `message_id`
    /// (required) and `type` (if present) must agree with the body.
    ///
    /// # Errors
    /// The message is no event of a type in this list.
    pub fn decode(
        &self,
        body: &[u8],
        message_id: Option<&str>,
        type_property: Option<&str>,
    ) -> Result<Event, Malformed> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Malformed::TooLarge(body.len()));
        }
        let mut value: Value =
            serde_json::from_slice(body).map_err(|e| Malformed::NotJson(e.to_string()))?;
        let event_type = match value.get("type") {
            Some(Value::String(name)) => self
                .find(name)
                .ok_or_else(|| Malformed::UnknownType(quoted(&format!("{name:?}"))))?,
            Some(other) => return Err(Malformed::UnknownType(quoted(&other.to_string()))),
            None => return Err(Malformed::UnknownType("(the body has no member \"type\")".into())),
        };
        // None of our APIs takes one and the database can't store it, so a retry is of no use.
        if has_nul(&value) {
            return Err(Malformed::Schema("a text contains the NUL character".into()));
        }
        let broken = |why: String| Malformed::Schema(quoted(&why));
        self.check(event_type, &value).map_err(broken)?;
        let metadata: Metadata = serde_json::from_value(value["metadata"].take())
            .map_err(|error| broken(error.to_string()))?;
        let payload = value["payload"].take();
        let number = |member: &str| {
            payload[member].as_i64().ok_or_else(|| broken(format!("/payload/{member}: no integer")))
        };
        let subject =
            Subject { kind: event_type.kind, id: number("id")?, version: number("version")? };

        let message_id = message_id.ok_or(Malformed::NoMessageId)?;
        let event_id = metadata.event_id.to_string();
        if !message_id.eq_ignore_ascii_case(&event_id) {
            return Err(Malformed::Mismatch {
                property: "message_id",
                found: quoted(message_id),
                body: event_id,
            });
        }
        match type_property {
            Some(found) if found != event_type.name => Err(Malformed::Mismatch {
                property: "type",
                found: quoted(found),
                body: event_type.name.into(),
            }),
            _ => Ok(Event { event_type, subject, payload, metadata }),
        }
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
    let head: String = chars.by_ref().take(QUOTED_CHARS).collect();
    if chars.next().is_some() { format!("{head}…") } else { head }
}
