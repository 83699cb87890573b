//! Events, for operators.

use chrono::{DateTime, Utc};
use paperclip::actix::Apiv2Schema;
use serde::Serialize;
use serde_json::Value;

use crate::domain::processing::effect::split_key;
use crate::domain::task::events::KIND as TASK;
use crate::store::events::{EffectState, EventDetail, EventSummary};

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
    /// What it happened to.
    pub subject: SubjectView,
    /// The task it happened to; null if the subject is no task.
    pub task_id: Option<i64>,
    /// The task's version after it; null if the subject is no task.
    pub task_version: Option<i64>,
    /// Who made the change; null if it was made by a version of taskd that did not record it.
    pub actor: Option<ActorView>,
    /// The event that this one follows from.
    pub causation_id: Option<String>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When the broker had confirmed it; null while it has not.
    pub published_at: Option<DateTime<Utc>>,
}

/// What an event is about.
#[derive(Debug, Serialize, Apiv2Schema)]
#[openapi(rename = "Subject")]
pub struct SubjectView {
    /// The kind of subject, such as `task`.
    pub kind: String,
    /// Its id, unique among its kind.
    pub id: i64,
    /// Its version after the change.
    pub version: i64,
}

/// Who made a change.
#[derive(Debug, Serialize, Apiv2Schema)]
#[openapi(rename = "Actor")]
pub struct ActorView {
    /// A user who signed in, an API token, whoever operates the instance, or taskd itself.
    pub kind: String,
    /// The id of that user or token; null for the others.
    pub id: Option<i64>,
}

impl From<EventSummary> for EventView {
    fn from(event: EventSummary) -> EventView {
        let origin = event.origin();
        let is_task = event.subject_kind == TASK;
        EventView {
            event_id: event.id.to_string(),
            event_type: event.event_type,
            task_id: is_task.then_some(event.subject_id),
            task_version: is_task.then_some(event.subject_version),
            subject: SubjectView {
                kind: event.subject_kind,
                id: event.subject_id,
                version: event.subject_version,
            },
            actor: origin.map(|origin| ActorView {
                kind: origin.actor.kind.as_str().to_owned(),
                id: origin.actor.id,
            }),
            causation_id: origin.and_then(|origin| origin.causation_id).map(|id| id.to_string()),
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
    /// What it happened to.
    pub subject: SubjectView,
    /// The task it happened to; null if the subject is no task.
    pub task_id: Option<i64>,
    /// The task's version after it; null if the subject is no task.
    pub task_version: Option<i64>,
    /// Who made the change; null if it was made by a version of taskd that did not record it.
    pub actor: Option<ActorView>,
    /// The event that this one follows from.
    pub causation_id: Option<String>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When the broker had confirmed it; null while it has not.
    pub published_at: Option<DateTime<Utc>>,
    /// The subject as it was then, and for an update what changed.
    pub payload: Value,
    /// What became of each effect that a worker has begun, by name.
    pub effects: Vec<EffectView>,
}

impl EventDetailView {
    /// The view of an event and its effects.
    pub fn of(event: EventDetail, effects: Vec<EffectState>) -> EventDetailView {
        let listed = EventView::from(event.listed);
        EventDetailView {
            event_id: listed.event_id,
            event_type: listed.event_type,
            subject: listed.subject,
            task_id: listed.task_id,
            task_version: listed.task_version,
            actor: listed.actor,
            causation_id: listed.causation_id,
            occurred_at: listed.occurred_at,
            published_at: listed.published_at,
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
