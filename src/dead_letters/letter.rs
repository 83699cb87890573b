//! A dead letter, as operators see it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::broker::message::{self, Message};
use crate::domain::event::EventTypes;
use crate::domain::processing::history::FailedAttempt;
use crate::domain::task::events::KIND as TASK;

/// A dead letter as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Identifies it among the others.
    pub id: String,
    /// Its event's id, if it has one.
    pub event_id: Option<String>,
    /// Its event's type, if it has one.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// What its event is about, if its type is known and it says so.
    #[serde(default)]
    pub subject: Option<LetterSubject>,
    /// The task that its event is about, unless it is known to be about something else.
    #[serde(default)]
    pub task_id: Option<i64>,
    /// Why it is a dead letter: see
    /// [`DeadReason`](crate::domain::processing::retry::DeadReason).
    pub reason: String,
    /// The error that made it a dead letter.
    pub error: Option<String>,
    /// How many attempts it had.
    pub attempts: u32,
    /// When the first attempt failed.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// When it became a dead letter.
    pub died_at: Option<DateTime<Utc>>,
    /// The failed attempts that it carries.
    pub history: Vec<FailedAttempt>,
    /// All its headers.
    pub headers: Map<String, Value>,
    /// Its body: as JSON if it is JSON, or else as text with invalid UTF-8 replaced.
    pub body: Value,
}

/// What the event of a dead letter is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterSubject {
    /// The kind of subject, such as `task`.
    pub kind: String,
    /// Its id.
    pub id: i64,
    /// Its version after the change, if the body says so.
    pub version: Option<i64>,
}

impl DeadLetter {
    /// Shows a message; its subject too if its type is one of these.
    pub(super) fn of(message: &Message, types: &EventTypes) -> DeadLetter {
        let body = serde_json::from_slice(&message.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&message.body).into_owned()));
        let died_at =
            message.text(message::DEAD_AT).and_then(|t| DateTime::parse_from_rfc3339(t).ok());
        // A letter from the broker or from somebody else may have its type in the body alone.
        let event_type = message.message_type.clone().or_else(|| text_at(&body, "/type"));
        let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
        let kind = event_type.as_deref().and_then(|name| types.find(name)).map(|known| known.kind);
        let subject = kind.zip(number("/payload/id")).map(|(kind, id)| LetterSubject {
            kind: kind.to_owned(),
            id,
            version: number("/payload/version"),
        });
        DeadLetter {
            id: id_of(message),
            event_id: message.message_id.clone(),
            event_type,
            // Of an unknown type it is most likely a task.
            task_id: number("/payload/id").filter(|_| kind.is_none_or(|kind| kind == TASK)),
            subject,
            reason: reason_of(message),
            error: message.text(message::DEAD_ERROR).map(str::to_owned),
            attempts: message.attempt(),
            first_failed_at: message.first_failed_at(),
            died_at: died_at.map(|at| at.with_timezone(&Utc)),
            history: message.history(),
            headers: message.headers.iter().chain(&message.broker_headers).map(owned).collect(),
            body,
        }
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn text_at(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// The id of a letter. The router gives each letter one. A letter that the broker set aside has its
/// message id, or else a number made from its body.
fn id_of(message: &Message) -> String {
    if let Some(id) = message.text(message::DEAD_ID).or(message.message_id.as_deref()) {
        return id.to_owned();
    }
    // FNV-1a (https://datatracker.ietf.org/doc/html/draft-eastlake-fnv): the same in every version.
    let hash = message.body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("body-{hash:016x}")
}

fn reason_of(message: &Message) -> String {
    let ours = message.text(message::DEAD_REASON).or(message.set_aside.as_deref());
    ours.unwrap_or("unknown").to_owned()
}

/// Which letters are selected.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// All letters that are there now.
    All,
    /// The letters with one of these ids, or these event ids.
    Ids(Vec<String>),
}

impl Selection {
    pub(super) fn has(&self, message: &Message) -> bool {
        match self {
            Selection::All => true,
            Selection::Ids(ids) => {
                let id = id_of(message);
                ids.iter()
                    .any(|wanted| *wanted == id || Some(wanted) == message.message_id.as_ref())
            }
        }
    }

    /// The ids that no letter had.
    pub(super) fn missed(&self, seen: &[DeadLetter]) -> Vec<String> {
        match self {
            Selection::All => Vec::new(),
            Selection::Ids(ids) => {
                let met = |id: &&String| {
                    seen.iter()
                        .any(|letter| letter.id == **id || letter.event_id.as_ref() == Some(*id))
                };
                ids.iter().filter(|id| !met(id)).cloned().collect()
            }
        }
    }
}
