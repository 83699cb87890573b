//! What stands in the way of an event, as it is kept for operators.

use chrono::{DateTime, Utc};

use crate::domain::processing::effect::EffectKey;
use crate::domain::processing::failure::{Failure, Failures};
use crate::domain::processing::history::ERROR_CHARS;
use crate::domain::processing::retry::Route;
use crate::domain::processing::state::EventState;
use crate::domain::text::without_nul;

/// What became of a delivery that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// The state that its event has from now on.
    pub state: EventState,
    /// The attempt that this was, from 1.
    pub attempt: u32,
    /// How many retries there are in all.
    pub retries: u32,
    /// When the message comes back by itself; `None` if it does not, or if that is not known.
    pub next_try_at: Option<DateTime<Utc>>,
    /// What happened, in order: what failed, then where that leads. At least one.
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it was.
    pub kind: StepKind,
    /// The effect it concerns; `None` if that is the whole message.
    pub effect: Option<EffectKey>,
    /// The error or the reason, for people.
    pub message: String,
}

/// What can happen to an event besides what goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// An attempt failed.
    Failed,
    /// The message waits, and no attempt is counted.
    Parked,
    /// The message came back from where it was parked.
    Released,
    /// It became a dead letter.
    Dead,
    /// Its dead letter was replayed.
    Replayed,
    /// Its dead letter was discarded.
    Discarded,
}

impl StepKind {
    /// Its name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            StepKind::Failed => "failed",
            StepKind::Parked => "parked",
            StepKind::Released => "released",
            StepKind::Dead => "dead",
            StepKind::Replayed => "replayed",
            StepKind::Discarded => "discarded",
        }
    }
}

impl Setback {
    /// What these failures of an attempt lead to, by the route that was decided for them.
    pub fn of(
        route: Route,
        attempt: u32,
        retries: u32,
        failures: &Failures,
        now: DateTime<Utc>,
    ) -> Setback {
        let (failed, waiting): (Vec<&Failure>, Vec<&Failure>) =
            failures.iter().partition(|failure| failure.is_failed_attempt());
        let step = |kind, failure: &Failure| Step {
            kind,
            effect: failure.effect.clone(),
            message: kept(&failure.message),
        };
        let mut steps: Vec<Step> = failed.iter().map(|f| step(StepKind::Failed, f)).collect();
        let (state, after) = match route {
            Route::Retry { after, .. } => (EventState::Retrying, Some(after)),
            Route::Park { after } => {
                steps.extend(waiting.iter().map(|f| step(StepKind::Parked, f)));
                (EventState::Parked, Some(after))
            }
            Route::Hold(hold) => {
                steps.extend(waiting.iter().map(|f| step(StepKind::Parked, f)));
                (EventState::Parked, Some(hold.at_least).filter(|wait| !wait.is_zero()))
            }
            Route::Dead(reason) => {
                let message = reason.as_str().to_owned();
                steps.push(Step { kind: StepKind::Dead, effect: None, message });
                (EventState::Dead, None)
            }
        };
        let next_try_at = after
            .and_then(|after| now.checked_add_signed(chrono::TimeDelta::from_std(after).ok()?));
        Setback { state, attempt, retries, next_try_at, steps }
    }

    /// The step that says most about the present state: the last failure or wait.
    pub fn cause(&self) -> Option<&Step> {
        let about = |step: &&Step| matches!(step.kind, StepKind::Failed | StepKind::Parked);
        self.steps.iter().rev().find(about).or(self.steps.last())
    }
}

/// As much of an error as is kept. The database can't keep a NUL.
fn kept(message: &str) -> String {
    let mut text: String = message.chars().take(ERROR_CHARS).collect();
    if text.len() < message.len() {
        text.push('…');
    }
    without_nul(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::processing::failure::Hold;
    use crate::domain::processing::retry::DeadReason;
    use std::time::Duration;

    fn failures(class: fn(&'static str) -> Failure) -> Failures {
        class("451 later").of(EffectKey::only("email")).into()
    }

    fn now() -> DateTime<Utc> {
        "2026-11-24T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_failed_attempt_says_when_the_next_one_is() {
        let route = Route::Retry { after: Duration::from_secs(5), attempt: 3 };
        let setback = Setback::of(route, 2, 5, &failures(Failure::transient), now());
        assert_eq!(setback.state, EventState::Retrying);
        assert_eq!(setback.next_try_at, Some("2026-11-24T00:00:05Z".parse().unwrap()));
        assert_eq!(setback.cause().unwrap().message, "451 later");
        assert_eq!(setback.steps.len(), 1);
    }

    #[test]
    fn a_dead_letter_has_its_failure_and_its_death() {
        let route = Route::Dead(DeadReason::Permanent);
        let setback = Setback::of(route, 1, 5, &failures(Failure::permanent), now());
        let kinds: Vec<StepKind> = setback.steps.iter().map(|step| step.kind).collect();
        assert_eq!(kinds, [StepKind::Failed, StepKind::Dead]);
        assert_eq!((setback.state, setback.next_try_at), (EventState::Dead, None));
        assert_eq!(setback.cause().unwrap().message, "451 later");
    }

    #[test]
    fn a_wait_is_no_failure() {
        let second = Duration::from_secs(1);
        let waiting = Failure::waiting(second, "leased").of(EffectKey::only("email"));
        let setback = Setback::of(Route::Park { after: second }, 1, 5, &waiting.into(), now());
        assert_eq!(setback.steps[0].kind, StepKind::Parked);
        assert_eq!(setback.state, EventState::Parked);
        let held = Failure::held(Hold::default(), "paused").of(EffectKey::only("email"));
        let setback = Setback::of(Route::Hold(Hold::default()), 1, 5, &held.into(), now());
        assert_eq!(setback.cause().unwrap().message, "paused");
        assert_eq!((setback.state, setback.next_try_at), (EventState::Parked, None));
    }

    #[test]
    fn an_error_is_kept_as_far_as_the_database_can() {
        assert_eq!(kept("a\0b"), "a\u{fffd}b");
        assert_eq!(kept(&"é".repeat(1_000)).chars().count(), ERROR_CHARS + 1);
    }
}
