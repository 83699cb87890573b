//! One delivery from its first effect to its settlement.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{GivenUp, Session};
use crate::broker::{Delivery, Tag};
use crate::domain::event::Event;
use crate::domain::retry::short;
use crate::effects::{self, Effect, Outcome, RUN_TIMEOUT};
use crate::idempotency::Claim;
use crate::retry_router::{Route, Trouble};
use crate::shutdown::Backoff;
use crate::store::StoreError;
use crate::store::processed::Finished;
use crate::store::users::User;

/// A delivery, its event, and how far its effects have come.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) event: Event,
    effects: BTreeMap<Effect, Progress>,
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
        let transient =
            self.effects.values().any(|p| matches!(p, Progress::Ended(Outcome::Transient(_))));
        let leased = self.effects.values().filter_map(|progress| match progress {
            Progress::Leased(remaining) => Some(*remaining),
            _ => None,
        });
        // What may pass comes first: the message dies when nothing but the hopeless is left.
        if transient {
            Some(Trouble::Transient(failures(true)))
        } else if let Some(remaining) = leased.max() {
            Some(Trouble::Leased(remaining))
        } else {
            let permanent = failures(false);
            (!permanent.is_empty()).then_some(Trouble::Permanent(permanent))
        }
    }

    /// Whether this delivery was for nothing: a first attempt that found everything done.
    fn is_duplicate(&self) -> bool {
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
            match self.external(effect, &job.event).await {
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
                let Job { delivery, event, .. } = job;
                self.route(delivery, Some(&event), trouble).await;
            }
        }
    }

    /// Claim, run, record.
    async fn external(&self, effect: Effect, event: &Event) -> Result<Progress, GivenUp> {
        // Claimed only when its turn has come and all it needs is at hand, so that the lease covers
        // the run alone.
        let Ok(_turn) = self.external.acquire().await else { return Err(GivenUp) };
        let failed = |error: StoreError| Ok(Progress::Ended(Outcome::Transient(error.to_string())));
        let recipient = match self.hold(|| self.tools.email.recipient(event)).await? {
            Ok(recipient) => recipient,
            Err(error) => return failed(error),
        };
        let id = event.metadata.event_id;
        let name = effect.name();
        let idempotency = &self.tools.idempotency;
        let outcome = match self.hold(|| idempotency.claim(name, id)).await? {
            Ok(Claim::Granted) => self.run(effect, event, recipient.as_ref()).await,
            Ok(Claim::Done) => return Ok(Progress::AlreadyDone),
            Ok(Claim::Leased(remaining)) => return Ok(Progress::Leased(remaining)),
            Err(error) => return failed(error),
        };
        let finished = |skipped| Finished { event_id: id, effect: name, skipped };
        let finished = match &outcome {
            Outcome::Done => finished(None),
            Outcome::Skipped(why) => finished(Some(why.clone())),
            Outcome::Transient(_) | Outcome::Permanent(_) => {
                if let Err(error) = idempotency.release(name, id).await {
                    tracing::debug!(event_id = %id, effect = name, %error, "the claim ends by itself");
                }
                return Ok(Progress::Ended(outcome));
            }
        };
        match self.hold(|| idempotency.finish(finished.clone())).await? {
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

    /// Acks what is done, all in as few frames as can be.
    pub(super) async fn settle_finished(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let tags: Vec<Tag> = jobs.iter().map(|job| job.delivery.tag).collect();
        if let Err(error) = self.settlement.ack(&tags).await {
            tracing::debug!(%error, "not acked; the next delivery will find the effects done");
            return;
        }
        let metrics = &self.tools.metrics;
        for job in jobs {
            let attempt = job.delivery.message.attempt();
            if attempt == 1 {
                for (effect, progress) in &job.effects {
                    if *progress == Progress::AlreadyDone {
                        metrics.duplicates_skipped.with_label_values(&[effect.name()]).inc();
                    }
                }
            }
            let outcome = if job.is_duplicate() { "duplicate" } else { "processed" };
            metrics.deliveries.with_label_values(&[outcome]).inc();
            tracing::info!(
                event_id = %job.event.metadata.event_id,
                event_type = job.event.event_type.as_str(),
                task_id = job.event.payload.task.id,
                attempt,
                worker = %self.tools.worker,
                outcome,
                "delivery"
            );
        }
    }

    /// Sends a copy to where it belongs, then acks the original. While the broker is away the
    /// delivery is held.
    pub(super) async fn route(&self, delivery: Delivery, event: Option<&Event>, trouble: Trouble) {
        let mut backoff = Backoff::default();
        let route = loop {
            match self.tools.router.send(&delivery.message, &trouble).await {
                Ok(route) => break route,
                Err(error) => {
                    tracing::warn!(
                        event_id = delivery.message.message_id.as_deref().unwrap_or("none"),
                        worker = %self.tools.worker, %error, "can't pass a message on; trying until it works"
                    );
                    if self.pause(&mut backoff).await.is_err() {
                        let _ = self.settlement.release(&[delivery.tag]).await;
                        return;
                    }
                }
            }
        };
        if let Err(error) = self.settlement.ack(&[delivery.tag]).await {
            tracing::debug!(%error, "not acked; both copies will be found done in their turn");
        }
        self.report(&delivery, event, &trouble, &route);
    }

    fn report(&self, delivery: &Delivery, event: Option<&Event>, trouble: &Trouble, route: &Route) {
        let message = &delivery.message;
        let metrics = &self.tools.metrics;
        let event_id = message.message_id.as_deref().unwrap_or("none");
        let event_type = event.map_or("unknown", |e| e.event_type.as_str());
        let (attempt, worker) = (message.attempt(), &self.tools.worker);
        match route {
            Route::Retry { after, attempt: next_attempt } => {
                metrics.deliveries.with_label_values(&["retried"]).inc();
                let error = failures(trouble);
                if let Trouble::Transient(failed) = trouble {
                    for (effect, _) in failed {
                        metrics.retries.with_label_values(&[effect]).inc();
                    }
                }
                tracing::warn!(event_id, event_type, attempt, %worker, outcome = "retried", error,
                               next_attempt, delay = short(*after), "delivery");
            }
            Route::Park { after } => {
                metrics.deliveries.with_label_values(&["parked"]).inc();
                tracing::info!(event_id, event_type, attempt, %worker, outcome = "parked",
                               delay = short(*after), "delivery");
            }
            Route::Dead { reason, error } => {
                metrics.deliveries.with_label_values(&["dead"]).inc();
                metrics.dead_letters.with_label_values(&[reason]).inc();
                tracing::error!(event_id, event_type, attempt, %worker, outcome = "dead", reason, error,
                                "delivery");
            }
        }
    }
}

fn failures(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Transient(failed) | Trouble::Permanent(failed) => failed
            .iter()
            .map(|(effect, error)| format!("{effect}: {error}"))
            .collect::<Vec<_>>()
            .join("; "),
        Trouble::Malformed(error) => error.clone(),
        Trouble::Leased(_) => String::new(),
    }
}
