//! Events, for operators.

use chrono::{DateTime, Utc};
use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::processing::effect::split_key;
use crate::domain::task::events::KIND as TASK;
use crate::operate::story::{Line, Story};
use crate::store::events::{EffectState, EventSummary};

/// An event, without what it says of its task.
#[derive(Debug, Serialize, Deserialize, Apiv2Schema)]
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
    /// Where it stands: `unpublished`, `queued`, `retrying`, `parked`, `dead` or `done`.
    pub state: String,
    /// The request that made the change; null if that is not known.
    pub request_id: Option<String>,
    /// The trace of that request, if it had one.
    pub trace_id: Option<String>,
}

/// What an event is about.
#[derive(Debug, Serialize, Deserialize, Apiv2Schema)]
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
#[derive(Debug, Serialize, Deserialize, Apiv2Schema)]
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
            actor: origin.as_ref().map(|origin| ActorView {
                kind: origin.actor.kind.as_str().to_owned(),
                id: origin.actor.id,
            }),
            causation_id: origin.and_then(|origin| origin.causation_id).map(|id| id.to_string()),
            occurred_at: event.occurred_at,
            published_at: event.published_at,
            state: event.state,
            request_id: event.request_id,
            trace_id: event.traceparent.as_deref().and_then(trace_id),
        }
    }
}

/// The trace of a W3C trace context.
fn trace_id(traceparent: &str) -> Option<String> {
    traceparent.split('-').nth(1).map(str::to_owned)
}

/// An event, what it says, and what became of it.
#[derive(Debug, Serialize, Deserialize, Apiv2Schema)]
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
    /// Where it stands: `unpublished`, `queued`, `retrying`, `parked`, `dead` or `done`.
    pub state: String,
    /// Why it is not done, in one sentence; null if it is.
    pub why_not_done: Option<String>,
    /// The dead letter that it is now.
    pub dead_letter_id: Option<String>,
    /// The request that made the change; null if that is not known.
    pub request_id: Option<String>,
    /// The trace of that request, if it had one.
    pub trace_id: Option<String>,
    /// The subject as it was then, and for an update what changed.
    pub payload: Value,
    /// What became of each effect that a worker has begun, by name.
    pub effects: Vec<EffectView>,
    /// What happened, oldest first.
    pub story: Vec<StoryLineView>,
}

/// One thing that happened to an event.
#[derive(Debug, Serialize, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "StoryLine")]
pub struct StoryLineView {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened: `written`, `published`, `done`, `skipped`, `failed`, `parked`, `dead`,
    /// `replayed` or `discarded`.
    pub outcome: String,
    /// The effect it concerns; null if that is the whole event.
    pub effect: Option<String>,
    /// Which of the effect's targets, where it has more than one.
    pub target: Option<String>,
    /// Which attempt failed, from 1; it starts again at 1 after a replay.
    pub attempt: Option<i32>,
    /// The worker that did it; null if that is not on record.
    pub worker: Option<String>,
    /// Who ordered it.
    pub by: Option<String>,
    /// The error, or the reason.
    pub message: Option<String>,
    /// When the next attempt was to be.
    pub next_try_at: Option<DateTime<Utc>>,
    /// The dead letter that it became, was or came from.
    pub dead_letter_id: Option<String>,
}

impl StoryLineView {
    fn of(line: Line<'_>, event: &EventView) -> StoryLineView {
        let (effect, target) = line.effect.map(split_key).unzip();
        let by = line.by.map(str::to_owned);
        let (worker, by) = match line.kind {
            "written" => (None, event.actor.as_ref().map(ActorView::to_string)),
            "replayed" | "discarded" => (None, by),
            _ => (by, None),
        };
        StoryLineView {
            at: line.at,
            outcome: line.kind.to_owned(),
            effect: effect.map(str::to_owned),
            target: target.flatten().map(str::to_owned),
            attempt: line.attempt,
            worker,
            by,
            message: line.message.map(str::to_owned),
            next_try_at: line.next_try_at,
            dead_letter_id: line.letter.map(str::to_owned),
        }
    }
}

impl std::fmt::Display for ActorView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.id {
            Some(id) => write!(f, "{} {id}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

impl EventDetailView {
    /// The view of an event's story.
    pub fn of(story: Story) -> EventDetailView {
        let lines = story.lines();
        let listed = EventView::from(story.event.listed.clone());
        let lines = lines.into_iter().map(|line| StoryLineView::of(line, &listed)).collect();
        EventDetailView {
            story: lines,
            state: story.state.as_str().to_owned(),
            why_not_done: story.why_not_done,
            dead_letter_id: story.letter,
            request_id: listed.request_id,
            trace_id: listed.trace_id,
            event_id: listed.event_id,
            event_type: listed.event_type,
            subject: listed.subject,
            task_id: listed.task_id,
            task_version: listed.task_version,
            actor: listed.actor,
            causation_id: listed.causation_id,
            occurred_at: listed.occurred_at,
            published_at: listed.published_at,
            payload: story.event.payload,
            effects: story.effects.into_iter().map(EffectView::from).collect(),
        }
    }
}

/// What became of an effect.
#[derive(Debug, Serialize, Deserialize, Apiv2Schema)]
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
    /// Which worker runs it or did it; null if that is not on record.
    pub worker: Option<String>,
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
            note: state.note.clone().filter(|_| state.state == "skipped"),
            worker: state.worker().map(str::to_owned),
            claimed_by: state.worker().filter(|_| !state.is_done()).map(str::to_owned),
            state: state.state,
            claimed_until: state.claimed_until,
            touched_at: state.touched_at,
        }
    }
}
