//! Events, for operators.

use chrono::{DateTime, Utc};
use paperclip::actix::Apiv2Schema;
use serde::Serialize;
use serde_json::Value;

use crate::domain::processing::effect::split_key;
use crate::store::events::{EffectState, Found, Listed};

/// An event, without what it says of its task.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Event")]
pub struct EventView {
    /// Its id, also in the message and in logs.
    pub event_id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The task it happened to.
    pub task_id: i64,
    /// The task's version after it.
    pub task_version: i64,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When the broker had confirmed it; null while it has not.
    pub published_at: Option<DateTime<Utc>>,
}

impl From<Listed> for EventView {
    fn from(event: Listed) -> EventView {
        EventView {
            event_id: event.id.to_string(),
            event_type: event.event_type,
            task_id: event.task_id,
            task_version: event.task_version,
            occurred_at: event.occurred_at,
            published_at: event.published_at,
        }
    }
}

/// An event, what it says, and what became of it.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "EventDetail")]
pub struct EventDetailView {
    /// Its id, also in the message and in logs.
    pub event_id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The task it happened to.
    pub task_id: i64,
    /// The task's version after it.
    pub task_version: i64,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When the broker had confirmed it; null while it has not.
    pub published_at: Option<DateTime<Utc>>,
    /// The task as it was then, and for an update what changed.
    pub payload: Value,
    /// What became of each effect that a worker has begun, by name.
    pub effects: Vec<EffectView>,
}

impl EventDetailView {
    /// The view of an event and its effects.
    pub fn of(event: Found, effects: Vec<EffectState>) -> EventDetailView {
        let EventView { event_id, event_type, task_id, task_version, occurred_at, published_at } =
            event.listed.into();
        EventDetailView {
            event_id,
            event_type,
            task_id,
            task_version,
            occurred_at,
            published_at,
            payload: event.payload,
            effects: effects.into_iter().map(EffectView::from).collect(),
        }
    }
}

/// What became of an effect.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Effect")]
pub struct EffectView {
    /// Its name.
    pub effect: String,
    /// Which of its targets, where it has more than one.
    pub target: Option<String>,
    /// To be run again after a failure, being run, done, or found to be needless.
    pub state: String,
    /// Why it was needless.
    pub note: Option<String>,
    /// Which worker runs it.
    pub claimed_by: Option<String>,
    /// Until when no other worker may.
    pub claimed_until: Option<DateTime<Utc>>,
    /// When this changed last.
    pub touched_at: DateTime<Utc>,
}

impl From<EffectState> for EffectView {
    fn from(state: EffectState) -> EffectView {
        let (effect, target) = split_key(&state.effect);
        EffectView {
            effect: effect.to_owned(),
            target: target.map(str::to_owned),
            state: state.state,
            note: state.note,
            claimed_by: state.claimed_by,
            claimed_until: state.claimed_until,
            touched_at: state.touched_at,
        }
    }
}
