//! A message as every broker carries it, and taskd's own headers.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::processing::gate::Pass;
use crate::domain::processing::history::FailedAttempt;

/// The number of the attempt that the message is for, from 1.
pub const ATTEMPT: &str = "taskd-attempt";
/// The failed attempts as JSON text: a list of [`FailedAttempt`].
pub const HISTORY: &str = "taskd-history";
/// When the first attempt failed (RFC 3339).
pub const FIRST_FAILED_AT: &str = "taskd-first-failed-at";
/// Why a message is a dead letter: a [`crate::domain::processing::retry::DeadReason`].
pub const DEAD_REASON: &str = "taskd-dead-reason";
/// The error that made it a dead letter.
pub const DEAD_ERROR: &str = "taskd-dead-error";
/// When it became a dead letter (RFC 3339).
pub const DEAD_AT: &str = "taskd-dead-at";
/// Identifies a dead letter among others with the same message id, or with none.
pub const DEAD_ID: &str = "taskd-dead-letter-id";

/// The dead letter that the message was before it was replayed.
pub const REPLAY_OF: &str = "taskd-replay-of";

/// Lets the message pass the gate of an effect once: the name of a [`Pass`], a space, and the
/// effect. It is not signed: a version before would not believe the message then, and it is only
/// about when.
pub const PASS: &str = "taskd-pass";

/// Whether each effect of the event has had a record: `true`, or absent.
pub const RECORDED: &str = "taskd-recorded";

/// The trace context of the request that made the event (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";

/// The signature of a message; see `signature`.
pub const SIGNATURE: &str = "taskd-signature";

/// How long the history may be, and also all other headers together, in bytes. All headers of a
/// message must fit into one frame, of usually 128 KiB; the broker closes the connection on a
/// longer one.
const HEADER_BYTES: usize = 48 * 1024;

/// Our headers except the history, which has a limit of its own.
const OURS: [&str; 10] = [
    ATTEMPT,
    FIRST_FAILED_AT,
    DEAD_REASON,
    DEAD_ERROR,
    DEAD_AT,
    DEAD_ID,
    REPLAY_OF,
    PASS,
    RECORDED,
    SIGNATURE,
];

/// Our headers that are signed: all but the signature.
pub const SIGNED: [&str; 8] =
    [ATTEMPT, HISTORY, FIRST_FAILED_AT, DEAD_REASON, DEAD_ERROR, DEAD_AT, DEAD_ID, RECORDED];

/// A message. taskd publishes all messages as persistent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// The content.
    pub body: Vec<u8>,
    /// The property `message_id`: the event's id.
    pub message_id: Option<String>,
    /// The property `type`: the event's type.
    pub message_type: Option<String>,
    /// The property `content_type`.
    pub content_type: Option<String>,
    /// The property `timestamp`, seconds since 1970.
    pub timestamp: Option<u64>,
    /// The headers of taskd and of whoever published the message.
    pub headers: Map<String, Value>,
    /// The headers that belong to the broker: it has set them, or it obeys them. They are shown,
    /// and never published again.
    pub broker_headers: Map<String, Value>,
    /// Why the broker itself has made it a dead letter, if it has: a
    /// [`DeadReason`](crate::domain::processing::retry::DeadReason) where that is one we know.
    pub set_aside: Option<String>,
}

impl Message {
    /// The attempt this delivery is, from 1.
    pub fn attempt(&self) -> u32 {
        let number = self.headers.get(ATTEMPT).and_then(Value::as_u64).unwrap_or(1);
        u32::try_from(number).unwrap_or(u32::MAX).max(1)
    }

    /// Whether each effect of the event has had a record. If so, a missing record means done and
    /// forgotten.
    pub fn is_recorded(&self) -> bool {
        self.headers.get(RECORDED) == Some(&Value::Bool(true))
    }

    /// The pass of this message for an effect, if it has one.
    pub fn pass(&self, effect: &str) -> Option<Pass> {
        let (pass, of) = self.text(PASS)?.split_once(' ')?;
        Pass::from_name(pass).filter(|_| of == effect)
    }

    /// Gives the message a pass for an effect.
    pub fn set_pass(&mut self, pass: Pass, effect: &str) {
        self.set_text(PASS, format!("{} {effect}", pass.as_str()));
    }

    /// Notes that each effect of the event has had a record.
    pub fn set_recorded(&mut self) {
        self.headers.insert(RECORDED.to_owned(), Value::Bool(true));
    }

    /// The failures so far; a header that is not a list of failures counts as none.
    pub fn history(&self) -> Vec<FailedAttempt> {
        self.text(HISTORY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// When the first attempt failed.
    pub fn first_failed_at(&self) -> Option<DateTime<Utc>> {
        let at = DateTime::parse_from_rfc3339(self.text(FIRST_FAILED_AT)?).ok()?;
        Some(at.with_timezone(&Utc))
    }

    /// The value of a header, if it is a string.
    pub fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header).and_then(Value::as_str)
    }

    /// Sets a header to a string.
    pub fn set_text(&mut self, header: &str, text: impl Into<String>) {
        self.headers.insert(header.to_owned(), Value::String(text.into()));
    }

    /// Sets the attempt the message is for.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.headers.insert(ATTEMPT.to_owned(), attempt.into());
    }

    /// Sets the failures so far. If they are too long for a header, drops the oldest, but keeps the
    /// first.
    pub fn set_history(&mut self, history: &[FailedAttempt]) {
        let Some(first) = history.first() else { return };
        let at = self.first_failed_at().unwrap_or(first.at);
        self.set_text(FIRST_FAILED_AT, at.to_rfc3339());
        let mut kept = history.to_vec();
        let mut text = serde_json::json!(kept).to_string();
        while text.len() > HEADER_BYTES && kept.len() > 1 {
            kept.remove(1);
            text = serde_json::json!(kept).to_string();
        }
        self.set_text(HISTORY, text);
    }

    /// A copy to publish again. It leaves out the broker's headers, and those that would leave no
    /// room for ours. Anybody can write a header under one of our names, so those are measured too.
    pub fn copy(&self) -> Message {
        let mut copy = Message { broker_headers: Map::new(), set_aside: None, ..self.clone() };
        copy.headers.retain(|name, value| {
            name != HISTORY || value.as_str().is_some_and(|text| text.len() <= HEADER_BYTES)
        });
        let mut room = HEADER_BYTES;
        for ours in [true, false] {
            copy.headers.retain(|name, value| {
                if name == HISTORY || OURS.contains(&name.as_str()) != ours {
                    return true;
                }
                let size = 1 + name.len() + encoded_bytes(value);
                let fits = size <= room;
                room -= if fits { size } else { 0 };
                fits
            });
        }
        copy
    }
}

/// How many bytes a value takes as a field of AMQP 0-9-1: one for its type, then eight for a number
/// whatever its value, or four for the length of a value that has one.
fn encoded_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Bool(_) => 2,
        Value::Number(_) => 9,
        Value::String(text) => 5 + text.len(),
        Value::Array(items) => 5 + items.iter().map(encoded_bytes).sum::<usize>(),
        Value::Object(map) => {
            5 + map.iter().map(|(name, v)| 1 + name.len() + encoded_bytes(v)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn headers_that_make_no_sense_count_as_absent() {
        let mut message = Message::default();
        for (attempt, read) in [
            (json!(3), 3),
            (json!("3"), 1),
            (json!(-1), 1),
            (json!(0), 1),
            (json!(1u64 << 40), u32::MAX),
        ] {
            message.headers.insert(ATTEMPT.into(), attempt);
            assert_eq!(message.attempt(), read);
        }
        message.set_text(HISTORY, "{}");
        message.set_text(FIRST_FAILED_AT, "yesterday");
        assert_eq!(message.history(), []);
        assert_eq!(message.first_failed_at(), None);
    }

    #[test]
    fn the_history_comes_back_as_it_was_and_the_first_failure_keeps_its_time() {
        let failure = |attempt, at: &str| FailedAttempt {
            attempt,
            worker: "w".into(),
            at: at.parse().unwrap(),
            effect: Some("email".into()),
            error: "é \"no\"".into(),
        };
        let mut message = Message::default();
        let mut history = vec![failure(1, "2026-01-01T00:00:00Z")];
        message.set_history(&history);
        history = vec![failure(2, "2026-01-02T00:00:00Z")];
        message.set_history(&history);
        assert_eq!(message.history(), history);
        assert_eq!(message.first_failed_at(), Some("2026-01-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn headers_stay_within_a_frame_and_ours_come_first() {
        let mut message = Message::default();
        message.set_text("large", "x".repeat(HEADER_BYTES));
        message.set_text("small", "x");
        let failure = FailedAttempt {
            attempt: 1,
            worker: "w".into(),
            at: Utc::now(),
            effect: None,
            error: "\u{1}".repeat(400),
        };
        message.set_history(&vec![failure; 40]);
        let copy = message.copy();
        assert!(copy.text(HISTORY).unwrap().len() <= HEADER_BYTES);
        assert!(copy.history().len() > 10);
        assert!(copy.text("large").is_none() && copy.text("small").is_some());
    }

    #[test]
    fn no_header_of_any_kind_or_name_fills_the_frame() {
        let zeros = Value::from(vec![0; HEADER_BYTES / 9]);
        let text = Value::from("x".repeat(HEADER_BYTES + 1));
        for (name, value) in [
            ("bytes", zeros.clone()),
            ("table", json!({ "deeper": zeros.clone() })),
            ("taskd-unheard-of", text.clone()),
            (HISTORY, text.clone()),
            (HISTORY, zeros.clone()),
            (FIRST_FAILED_AT, text.clone()),
            (ATTEMPT, zeros),
            (DEAD_ERROR, text),
        ] {
            let mut message = Message::default();
            message.set_text("aaa", "x".repeat(HEADER_BYTES - 100));
            message.set_text("small", "x");
            message.headers.insert(name.into(), value);
            let copy = message.copy();
            assert_eq!(copy.headers.keys().collect::<Vec<_>>(), ["aaa", "small"], "{name}");
        }
    }
}
