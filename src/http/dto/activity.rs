//! What happened to a task.

use chrono::{DateTime, Utc};
use paperclip::actix::Apiv2Schema;
use serde::Serialize;
use serde_json::Value;

use crate::effects::MailState;
use crate::store::activity::Entry;

/// An entry of a task's activity log.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Activity")]
pub struct ActivityView {
    /// Assigned by the database.
    pub id: i64,
    /// The event.
    pub event_id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The task's version after it.
    pub task_version: i64,
    /// For an update, the fields that changed, each with `from` and `to`.
    pub changes: Option<Value>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When a worker wrote it down.
    pub recorded_at: DateTime<Utc>,
    /// The mail about it; null if it needed none, or if that is too long ago to be known.
    pub mail: Option<MailView>,
}

/// What became of a mail.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Mail")]
pub struct MailView {
    /// `sent`, `skipped`, or where its event stands: `unpublished`, `queued`, `retrying`, `parked`
    /// or `dead`.
    pub state: String,
    /// To whom.
    pub to: Option<String>,
    /// When it was sent or skipped, or since when it waits.
    pub at: DateTime<Utc>,
    /// Why it was not sent.
    pub error: Option<String>,
}

impl From<MailState> for MailView {
    fn from(mail: MailState) -> MailView {
        MailView { state: mail.state, to: mail.to, at: mail.at, error: mail.error }
    }
}

impl From<(Entry, Option<MailState>)> for ActivityView {
    fn from((entry, mail): (Entry, Option<MailState>)) -> ActivityView {
        ActivityView {
            id: entry.id,
            event_id: entry.event_id.to_string(),
            event_type: entry.event_type,
            task_version: entry.task_version,
            changes: entry.changes,
            occurred_at: entry.occurred_at,
            recorded_at: entry.recorded_at,
            mail: mail.map(MailView::from),
        }
    }
}
