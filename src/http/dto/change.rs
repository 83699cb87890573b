//! The change feed. Its entries are written where they are read (`feed/entry.rs`); this describes
//! them.

use chrono::{DateTime, Utc};
use paperclip::actix::Apiv2Schema;
use serde::Serialize;
use serde_json::Value;

/// What a follower of the change feed is told of an event.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Change")]
pub struct ChangeView {
    /// The event's id: the same wherever it is told.
    pub event_id: String,
    /// What happened; `removed` if the task has left the reader's sight.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The task it happened to.
    pub task_id: i64,
    /// The task's version after it.
    pub version: i64,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The task as it was committed.
    pub task: Option<Value>,
}

/// A page of the change feed.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct ChangePage {
    /// What changed, in order.
    pub data: Vec<ChangeView>,
    /// What to pass as `since` for what comes next; never null.
    pub next_cursor: String,
}
