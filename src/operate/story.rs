//! The story of an event: what became of it, and why it is not done.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::presence;
use crate::domain::processing::effect::split_key;
use crate::domain::processing::setback::StepKind;
use crate::domain::processing::state::{EventState, Situation, why_not_done};
use crate::store::events::setbacks::{self, StepRow};
use crate::store::events::unfinished::{self, Unfinished};
use crate::store::events::{self, EffectState, EventDetail};
use crate::store::gates;
use crate::store::operation::processes;
use crate::store::{Connection, StoreError};

/// All that is known of an event.
pub struct Story {
    /// The event.
    pub event: EventDetail,
    /// Where it stands.
    pub state: EventState,
    /// Why it is not done, in one sentence; `None` if it is.
    pub why_not_done: Option<String>,
    /// The dead letter that it is now.
    pub letter: Option<String>,
    /// Its effects, as far as they have begun.
    pub effects: Vec<EffectState>,
    /// What happened besides what went well, oldest first.
    pub steps: Vec<StepRow>,
}

/// The story of an event; `None` if there is no such event.
///
/// # Errors
/// The database fails.
pub async fn story(connection: &mut Connection, id: Uuid) -> Result<Option<Story>, StoreError> {
    let Some(event) = events::find(connection, id).await? else { return Ok(None) };
    let unfinished = unfinished::find(connection, id).await?;
    let effects = events::effects(connection, id).await?;
    let steps = setbacks::steps(connection, id).await?;
    // The statement names no other states.
    let state = EventState::from_name(&event.listed.state).unwrap_or(EventState::Queued);
    let gate = gate(connection, state, unfinished.as_ref()).await?;
    let no_worker = match state {
        EventState::Queued => presence::no_worker(&processes::list(connection).await?, Utc::now()),
        _ => None,
    };
    let situation = Situation {
        gate: gate.as_deref(),
        no_worker: no_worker.as_deref(),
        ..situation(state, &event, unfinished.as_ref(), &effects, &steps)
    };
    let why_not_done = why_not_done(&situation, Utc::now());
    let letter = situation.letter.map(str::to_owned).filter(|_| state == EventState::Dead);
    Ok(Some(Story { state, why_not_done, letter, event, effects, steps }))
}

/// Why the effect that a parked event waits for may not run at this moment.
async fn gate(
    connection: &mut Connection,
    state: EventState,
    unfinished: Option<&Unfinished>,
) -> Result<Option<String>, StoreError> {
    let key = unfinished.and_then(|u| u.effect.as_deref());
    let Some(key) = key.filter(|_| state == EventState::Parked) else { return Ok(None) };
    let (effect, _) = split_key(key);
    let found = gates::look(connection, &[effect]).await?;
    Ok(found.first().and_then(|found| found.gate.closed(effect, None, Utc::now())))
}

fn situation<'a>(
    state: EventState,
    event: &EventDetail,
    unfinished: Option<&'a Unfinished>,
    effects: &'a [EffectState],
    steps: &'a [StepRow],
) -> Situation<'a> {
    let number = |n: i32| u32::try_from(n).unwrap_or_default();
    let written = event.listed.published_at.unwrap_or(event.listed.occurred_at);
    let running = effects.iter().find(|effect| effect.state == "claimed");
    let discarded = steps.last().filter(|step| step.kind == StepKind::Discarded.as_str());
    Situation {
        state,
        since: unfinished.map_or(written, |u| u.since),
        attempts: unfinished.and_then(|u| Some((number(u.attempt?), number(u.retries?)))),
        effect: unfinished.and_then(|u| u.effect.as_deref()),
        reason: unfinished.and_then(|u| u.reason.as_deref()),
        next_try_at: unfinished.and_then(|u| u.next_try_at),
        letter: unfinished.and_then(|u| u.letter_id.as_deref()),
        discarded: discarded.map(|step| (step.actor.as_str(), step.at)),
        running: running.and_then(|effect| Some((effect.worker()?, effect.effect.as_str()))),
        gate: None,
        no_worker: None,
    }
}

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened: `written`, `published`, `done`, `skipped`, or the name of a [`StepKind`].
    pub kind: &'a str,
    /// The effect as `NAME` or `NAME/TARGET`; `None` if it concerns the whole event.
    pub effect: Option<&'a str>,
    /// Which attempt it was, of a step.
    pub attempt: Option<i32>,
    /// The worker, or whoever replayed or discarded it.
    pub by: Option<&'a str>,
    /// The error, the reason, or why there was nothing to do.
    pub message: Option<&'a str>,
    /// When the message was to come back by itself.
    pub next_try_at: Option<DateTime<Utc>>,
    /// The dead letter.
    pub letter: Option<&'a str>,
}

impl Story {
    /// What happened, in order.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let line = |at, kind| Line {
            at,
            kind,
            effect: None,
            attempt: None,
            by: None,
            message: None,
            next_try_at: None,
            letter: None,
        };
        let mut lines = vec![line(self.event.listed.occurred_at, "written")];
        lines.extend(self.event.listed.published_at.map(|at| line(at, "published")));
        lines.extend(self.effects.iter().filter(|effect| effect.is_done()).map(|effect| Line {
            effect: Some(&effect.effect),
            by: effect.worker(),
            message: effect.note.as_deref(),
            ..line(effect.touched_at, &effect.state)
        }));
        lines.extend(self.steps.iter().map(|step| Line {
            effect: step.effect.as_deref(),
            attempt: Some(step.attempt),
            by: Some(&step.actor),
            message: Some(&step.message),
            next_try_at: step.next_try_at,
            letter: step.letter_id.as_deref(),
            ..line(step.at, &step.kind)
        }));
        // Of the same moment, what was pushed first came first.
        lines.sort_by_key(|line| line.at);
        lines
    }
}
