//! A message as the database keeps it while no queue has it: its properties and headers as JSON,
//! and its body as it is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Message;

#[derive(Serialize, Deserialize)]
struct Kept {
    message_id: Option<String>,
    message_type: Option<String>,
    content_type: Option<String>,
    timestamp: Option<u64>,
    headers: Map<String, Value>,
    broker_headers: Map<String, Value>,
    set_aside: Option<String>,
}

/// All of a message but its body, as JSON.
pub fn keep(message: &Message) -> String {
    let kept = Kept {
        message_id: message.message_id.clone(),
        message_type: message.message_type.clone(),
        content_type: message.content_type.clone(),
        timestamp: message.timestamp,
        headers: message.headers.clone(),
        broker_headers: message.broker_headers.clone(),
        set_aside: message.set_aside.clone(),
    };
    serde_json::json!(kept).to_string()
}

/// The message of which [`keep`] made this. If that can't be read after all, the body remains.
pub fn restore(kept: &str, body: Vec<u8>) -> Message {
    let Ok(kept) = serde_json::from_str::<Kept>(kept) else {
        return Message { body, ..Message::default() };
    };
    Message {
        body,
        message_id: kept.message_id,
        message_type: kept.message_type,
        content_type: kept.content_type,
        timestamp: kept.timestamp,
        headers: kept.headers,
        broker_headers: kept.broker_headers,
        set_aside: kept.set_aside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_restored_as_it_was() {
        let mut message = Message {
            body: vec![0, 159],
            message_id: Some("é\0".into()),
            timestamp: Some(7),
            ..Message::default()
        };
        message.set_text("nul", "\0");
        message.broker_headers.insert("x-of-the-broker".into(), Value::Null);
        assert_eq!(restore(&keep(&message), message.body.clone()), message);
        assert_eq!(restore("{", vec![1]), Message { body: vec![1], ..Message::default() });
    }
}
