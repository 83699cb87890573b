//! Orders about dead letters, and what is answered to them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DeadLetter;
use super::edit::EditOrder;
use crate::store::letters::LetterFilter;
use crate::store::letters::replays::{ForecastRow, ReplayRow};

/// An order about dead letters. It can be sent to the process that has them to itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "named like the functions of `DeadLetters`")]
pub enum Order {
    List { state: String, filter: LetterFilter, limit: u32 },
    Show { ids: Vec<String> },
    Groups,
    Replay { order: ReplayOrder },
    Replays { limit: u32 },
    Progress { id: i64 },
    Stop { id: i64 },
    Resume { id: i64 },
    Discard { order: DiscardOrder },
    Edit { order: EditOrder },
}

/// Some letters, and how many there are in all.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterPage {
    /// The letters, those first that died first.
    pub letters: Vec<DeadLetter>,
    /// How many pass the filter.
    pub total: i64,
}

/// The letters with some ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Ids that no letter has.
    pub not_found: Vec<String>,
}

/// The open letters of one cause.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterGroup {
    /// What they have in common.
    pub fingerprint: String,
    /// How many there are.
    pub count: i64,
    /// When the first of them died.
    pub first_at: DateTime<Utc>,
    /// When the last of them died.
    pub last_at: DateTime<Utc>,
    /// Whether one has died in the last five minutes.
    pub growing: bool,
    /// The effect that failed, as `NAME` or `NAME/TARGET`.
    pub effect: Option<String>,
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Why they are dead letters.
    pub reason: String,
    /// The error, without what differs between them.
    pub error: String,
    /// One of them, whole.
    pub sample: Option<DeadLetter>,
}

/// An order to replay letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayOrder {
    /// Which letters: of those that are open now.
    #[serde(default)]
    pub selection: LetterFilter,
    /// Whether to say only what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// How many letters go first, and have to be done before the others go.
    #[serde(default)]
    pub canary: u32,
    /// How many letters a second go after that; as fast as they go, if nothing is said.
    #[serde(default)]
    pub rate: Option<u32>,
    /// After how many letters that failed again the replay stops by itself.
    #[serde(default)]
    pub max_failures: Option<u32>,
}

/// What a replay would do with the letters of one cause.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The cause.
    pub fingerprint: String,
    /// The error, without what differs.
    pub error: String,
    /// How many letters have it.
    pub letters: i64,
    /// How many of them are done already: nothing is sent for these.
    pub already_done: i64,
    /// How many are certain to fail again: they can't be read, or are not believed.
    pub hopeless: i64,
}

/// The answer to an order to replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayAnswer {
    /// What it will do, or would do.
    pub forecast: Vec<Forecast>,
    /// Ids that no open letter has.
    pub not_found: Vec<String>,
    /// The plan; `None` of a dry run, and if there is no letter.
    pub replay: Option<Replay>,
}

/// A replay, and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Its id.
    pub id: i64,
    /// `canary`, `running`, `stopping`, `stopped` or `done`.
    pub state: String,
    /// Why it stopped.
    pub reason: Option<String>,
    /// Whether a worker carries it out at this moment.
    pub carried_out: bool,
    /// When it was ordered.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The filter that chose its letters.
    pub selection: Value,
    /// How many letters go first.
    pub canary: i32,
    /// Letters a second.
    pub rate: Option<i32>,
    /// After how many letters that failed again it stops.
    pub max_failures: Option<i32>,
    /// How many letters it has.
    pub total: i64,
    /// How many have not been sent.
    pub waiting: i64,
    /// How many have been sent, and whose effects are not finished.
    pub sent: i64,
    /// How many are done.
    pub done: i64,
    /// How many have failed again.
    pub failed_again: i64,
    /// How many were done before.
    pub already_done: i64,
    /// How many others have dealt with while it was stopped.
    pub put_back: i64,
}

/// An order to discard letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiscardOrder {
    /// Which letters: of those that are open now.
    #[serde(default)]
    pub selection: LetterFilter,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether to say only how many.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was discarded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discarded {
    /// How many letters, or how many there are to discard.
    pub count: i64,
    /// Ids that no open letter has.
    pub not_found: Vec<String>,
}

impl From<ReplayRow> for Replay {
    fn from(row: ReplayRow) -> Replay {
        let settled = row.done + row.failed_again + row.already_done + row.put_back;
        Replay {
            total: row.waiting + row.sent + settled,
            id: row.id,
            state: row.state,
            reason: row.reason,
            carried_out: row.carried_out,
            created_at: row.created_at,
            created_by: row.created_by,
            ended_at: row.ended_at,
            selection: row.selection,
            canary: row.canary,
            rate: row.rate,
            max_failures: row.max_failures,
            waiting: row.waiting,
            sent: row.sent,
            done: row.done,
            failed_again: row.failed_again,
            already_done: row.already_done,
            put_back: row.put_back,
        }
    }
}

impl From<ForecastRow> for Forecast {
    fn from(row: ForecastRow) -> Forecast {
        Forecast {
            fingerprint: row.fingerprint,
            error: row.pattern,
            letters: row.letters,
            already_done: row.already_done,
            hopeless: row.hopeless,
        }
    }
}
