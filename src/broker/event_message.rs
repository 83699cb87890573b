//! The message of an event, wherever it is published.

use serde::Serialize;

use super::Message;
use crate::domain::event::{Event, Metadata, encode};

/// The message of an event of this type; `payload` is a JSON object.
pub fn of(event_type: &str, payload: &impl Serialize, metadata: &Metadata) -> Message {
    Message {
        body: encode(event_type, payload, metadata),
        message_id: Some(metadata.event_id.to_string()),
        message_type: Some(event_type.to_owned()),
        content_type: Some("application/json".to_owned()),
        timestamp: u64::try_from(metadata.timestamp.timestamp()).ok(),
        ..Message::default()
    }
}

/// The message of an event that was read from one. The two may differ in the order of JSON members.
pub fn copy_of(event: &Event) -> Message {
    of(event.event_type.name, &event.payload, &event.metadata)
}
