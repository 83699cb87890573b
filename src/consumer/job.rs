//! One delivery from its first effect to its settlement.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{GivenUp, Session};
use crate::broker::Delivery;
use crate::domain::claim::Claim;
use crate::domain::event::Event;
use crate::domain::retry::Cause;
use crate::effects::{self, Effect, Outcome, RUN_TIMEOUT};
use crate::retry_router::Trouble;
use crate::store::StoreError;
use crate::store::processed::{Finished, Subject};
use crate::store::users::User;

/// A delivery, its event, and how far its effects have come.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) event: Event,
    pub(super) effects: BTreeMap<Effect, Progress>,
}

/// How far an effect has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not begun.
    Open,
    /// Run in this job, with this outcome.
    Ended(Outcome),
    /// Done before, by an earlier attempt or for another copy of the message.
    AlreadyDone,
    /// Another worker is at it.
    Leased(Duration),
    /// Not begun, since it has to wait for so long: its user has had as many mails as it gets for
    /// now.
    Limited(Duration),
}

impl Progress {
    fn cause(&self) -> Option<Cause> {
        match self {
            Progress::Ended(Outcome::Transient(_)) => Some(Cause::Transient),
            Progress::Ended(Outcome::Permanent(_)) => Some(Cause::Permanent),
            Progress::Leased(wait) | Progress::Limited(wait) => Some(Cause::Leased(*wait)),
            _ => None,
        }
    }
}

impl Job {
    pub(super) fn new(delivery: Delivery, event: Event) -> Job {
        let effects = effects::of(event.event_type)
            .iter()
            .filter(|effect| effect.applies(&event))
            .map(|effect| (*effect, Progress::Open))
            .collect();
        Job { delivery, event, effects }
    }

    pub(super) fn set(&mut self, effect: Effect, progress: Progress) {
        self.effects.insert(effect, progress);
    }

    /// Whether every effect is done, so that all that is left is the ack.
    pub(super) fn is_finished(&self) -> bool {
        self.effects.values().all(|progress| {
            matches!(
                progress,
                Progress::AlreadyDone | Progress::Ended(Outcome::Done | Outcome::Skipped(_))
            )
        })
    }

    /// What stands in the way of the ack.
    fn trouble(&self) -> Option<Trouble> {
        let failures = |transient: bool| -> Vec<(&'static str, String)> {
            let failed = self.effects.iter().filter_map(|(effect, progress)| match progress {
                Progress::Ended(Outcome::Transient(e)) if transient => {
                    Some((effect.name(), e.clone()))
                }
                Progress::Ended(Outcome::Permanent(e)) => Some((effect.name(), e.clone())),
                _ => None,
            });
            failed.collect()
        };
        Some(match Cause::deciding(self.effects.values().filter_map(Progress::cause))? {
            Cause::Transient => Trouble::Transient(failures(true)),
            Cause::Leased(remaining) => Trouble::Leased(remaining),
            Cause::Permanent | Cause::Malformed => Trouble::Permanent(failures(false)),
        })
    }

    /// What the store of records is asked about.
    pub(super) fn subject(&self) -> Subject {
        Subject {
            event_id: self.event.metadata.event_id,
            // There are two.
            effects: i16::try_from(self.effects.len()).unwrap_or(i16::MAX),
            recorded: self.delivery.message.is_recorded(),
        }
    }

    /// The effects that were to be run here and have not happened.
    pub(super) fn left_open(&self) -> Vec<&'static str> {
        let failed = |progress: &Progress| {
            matches!(
                progress,
                Progress::Ended(Outcome::Transient(_) | Outcome::Permanent(_))
                    | Progress::Limited(_)
            )
        };
        self.effects.iter().filter(|(_, p)| failed(p)).map(|(effect, _)| effect.name()).collect()
    }

    /// Whether this delivery was for nothing: a first attempt that found everything done.
    pub(super) fn is_duplicate(&self) -> bool {
        self.delivery.message.attempt() == 1
            && !self.effects.is_empty()
            && self.effects.values().all(|progress| *progress == Progress::AlreadyDone)
    }
}

impl Session {
    /// Runs what is still open, then settles.
    pub(super) async fn go_on(&self, mut job: Job) {
        let open: Vec<Effect> = job
            .effects
            .iter()
            .filter(|(_, progress)| **progress == Progress::Open)
            .map(|(effect, _)| *effect)
            .collect();
        for effect in open {
            match self.external(effect, &job.event, job.subject()).await {
                Ok(progress) => job.set(effect, progress),
                Err(GivenUp) => {
                    let _ = self.settlement.release(&[job.delivery.tag]).await;
                    return;
                }
            }
        }
        match job.trouble() {
            None => self.settle_finished(vec![job]).await,
            Some(trouble) => {
                self.route(&job.delivery, Some(&job), trouble).await;
            }
        }
    }

    /// Claim, run, record.
    async fn external(
        &self,
        effect: Effect,
        event: &Event,
        subject: Subject,
    ) -> Result<Progress, GivenUp> {
        // Claimed only when its turn has come and all it needs is at hand, so that the lease covers
        // the run alone.
        let Ok(_turn) = self.external.acquire().await else { return Err(GivenUp) };
        let failed = |error: StoreError| Ok(Progress::Ended(Outcome::Transient(error.to_string())));
        let recipient = match self.hold(|| self.tools.email.recipient(event)).await? {
            Ok(recipient) => recipient,
            Err(error) => return failed(error),
        };
        if let Some(user) = &recipient {
            match self.hold(|| self.tools.email.wait(user)).await? {
                Ok(None) => {}
                Ok(Some(wait)) => return Ok(Progress::Limited(wait)),
                Err(error) => return failed(error),
            }
        }
        let name = effect.name();
        let idempotency = &self.tools.idempotency;
        let outcome = match self.hold(|| idempotency.claim(name, subject)).await? {
            Ok(Claim::Granted) => self.run(effect, event, recipient.as_ref()).await,
            Ok(Claim::Done) => return Ok(Progress::AlreadyDone),
            Ok(Claim::Leased(remaining)) => return Ok(Progress::Leased(remaining)),
            Err(error) => return failed(error),
        };
        let finished = |skipped| Finished { event_id: subject.event_id, effect: name, skipped };
        let finished = match &outcome {
            Outcome::Done => finished(None),
            Outcome::Skipped(why) => finished(Some(why.clone())),
            Outcome::Transient(_) | Outcome::Permanent(_) => return Ok(Progress::Ended(outcome)),
        };
        match self.insist(|| idempotency.finish(finished.clone())).await? {
            Ok(()) => Ok(Progress::Ended(outcome)),
            Err(error) => failed(error),
        }
    }

    async fn run(&self, effect: Effect, event: &Event, recipient: Option<&User>) -> Outcome {
        if let Some(error) = self.tools.simulation.failure(effect) {
            return Outcome::Transient(error);
        }
        let started = Instant::now();
        let running = self.tools.email.run(event, recipient);
        let outcome = tokio::time::timeout(RUN_TIMEOUT, running).await.unwrap_or_else(|_| {
            Outcome::Transient(format!("not done within {} s", RUN_TIMEOUT.as_secs()))
        });
        let seconds = started.elapsed().as_secs_f64();
        let labels = [effect.name(), outcome.label()];
        self.tools.metrics.effect_seconds.with_label_values(&labels).observe(seconds);
        outcome
    }
}
