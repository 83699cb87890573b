//! A dead letter, as operators see it and as it is kept.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::fingerprint::{fingerprint, pattern};
use crate::broker::kept;
use crate::broker::message::{self, Message};
use crate::broker::{Delivery, message::REPLAY_OF};
use crate::domain::event::EventTypes;
use crate::domain::processing::history::FailedAttempt;
use crate::domain::task::events::KIND as TASK;
use crate::domain::text::without_nul;
use crate::store::letters::LetterRow;
use crate::store::letters::moving::NewLetter;

/// A dead letter as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Identifies it among the others.
    pub id: String,
    /// What has become of it: `open`, `replaying`, `replayed`, `failed again`, `replaced` or
    /// `discarded`.
    pub state: String,
    /// What it has in common with letters of the same cause.
    pub fingerprint: String,
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
    /// When it became a dead letter, or was found to be one.
    pub died_at: Option<DateTime<Utc>>,
    /// The letter that it was before it was replayed.
    pub replay_of: Option<String>,
    /// When it was settled.
    pub settled_at: Option<DateTime<Utc>>,
    /// Who settled it.
    pub settled_by: Option<String>,
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

/// What can be read of a message.
struct Reading {
    body: Value,
    event_type: Option<String>,
    subject: Option<LetterSubject>,
    task_id: Option<i64>,
}

impl Reading {
    fn of(message: &Message, types: &EventTypes) -> Reading {
        let body = serde_json::from_slice(&message.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&message.body).into_owned()));
        // A letter from the broker or from somebody else may have its type in the body alone.
        let event_type = message.message_type.clone().or_else(|| text_at(&body, "/type"));
        let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
        let kind = event_type.as_deref().and_then(|name| types.find(name)).map(|known| known.kind);
        let subject = kind.zip(number("/payload/id")).map(|(kind, id)| LetterSubject {
            kind: kind.to_owned(),
            id,
            version: number("/payload/version"),
        });
        // Of an unknown type it is most likely a task.
        let task_id = number("/payload/id").filter(|_| kind.is_none_or(|kind| kind == TASK));
        Reading { event_type, subject, task_id, body }
    }
}

impl DeadLetter {
    /// Shows a letter; its subject too if its type is one of these.
    pub(super) fn of(row: &LetterRow, types: &EventTypes) -> DeadLetter {
        let message = message_of(row);
        let Reading { body, event_type, subject, task_id } = Reading::of(&message, types);
        DeadLetter {
            id: row.id.clone(),
            state: row.state.clone(),
            fingerprint: row.fingerprint.clone(),
            event_id: message.message_id.clone(),
            event_type,
            task_id,
            subject,
            reason: reason_of(&message),
            error: message.text(message::DEAD_ERROR).map(str::to_owned),
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            first_failed_at: message.first_failed_at(),
            died_at: Some(row.died_at),
            replay_of: row.replay_of.clone(),
            settled_at: row.settled_at,
            settled_by: row.settled_by.clone(),
            history: message.history(),
            headers: message.headers.iter().chain(&message.broker_headers).map(owned).collect(),
            body,
        }
    }
}

/// The message of a letter, as it was in the queue.
pub(super) fn message_of(row: &LetterRow) -> Message {
    kept::restore(&row.message, row.body.clone())
}

/// The longest id of a letter that is kept as it is, in bytes.
const LONGEST_ID: usize = 200;

/// The row for a letter of the queue. `is_ours` says whether this installation has signed it: then
/// its id is one of ours.
pub(super) fn to_be_moved(delivery: Delivery, is_ours: bool, types: &EventTypes) -> NewLetter {
    let Delivery { message, redelivered, .. } = delivery;
    let Reading { event_type, subject, task_id, .. } = Reading::of(&message, types);
    let stamp = message.text(message::DEAD_ID).filter(|id| id.len() <= LONGEST_ID);
    let history = message.history();
    let last = history.last();
    let reason = reason_of(&message);
    let error = message.text(message::DEAD_ERROR).map(str::to_owned);
    let effect = last.and_then(|failure| failure.effect.clone());
    let pattern = pattern(last.map_or(error.as_deref().unwrap_or(&reason), |last| &last.error));
    let died_at =
        message.text(message::DEAD_AT).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let (effect, event_type) =
        (effect.map(|e| without_nul(&e)), event_type.map(|t| without_nul(&t)));
    let (reason, pattern) = (without_nul(&reason), without_nul(&pattern));
    let of_task = task_id.map(|id| (TASK.to_owned(), id));
    let (subject_kind, subject_id) = subject.map(|s| (s.kind, s.id)).or(of_task).unzip();
    NewLetter {
        id: stamp.map_or_else(|| Uuid::now_v7().to_string(), without_nul),
        unstamped: (!is_ours || stamp.is_none()).then(|| hash(&message)),
        event_id: message.message_id.as_deref().and_then(|id| Uuid::parse_str(id).ok()),
        fingerprint: fingerprint(effect.as_deref(), event_type.as_deref(), &reason, &pattern),
        event_type,
        subject_kind,
        subject_id,
        error: error.as_deref().map(without_nul),
        effect,
        attempts: message.attempt().min(i32::MAX as u32),
        first_failed_at: message.first_failed_at(),
        died_at: died_at.map_or_else(Utc::now, |at| at.with_timezone(&Utc)),
        pattern,
        reason,
        message_id: message.message_id.as_deref().map(without_nul),
        replay_of: message.text(REPLAY_OF).map(without_nul),
        is_ours,
        recorded: is_ours && message.is_recorded(),
        redelivered,
        message: kept::keep(&message),
        body: message.body,
    }
}

/// A hash of all that tells a letter from others. What the broker counts at each delivery is not
/// part of it.
fn hash(message: &Message) -> Vec<u8> {
    let mut hash = Sha256::new();
    let of_broker = Message { broker_headers: Map::new(), ..message.clone() };
    hash.update(kept::keep(&of_broker));
    hash.update(&message.body);
    hash.finalize().to_vec()
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn text_at(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn reason_of(message: &Message) -> String {
    let ours = message.text(message::DEAD_REASON).or(message.set_aside.as_deref());
    ours.unwrap_or("unknown").to_owned()
}
