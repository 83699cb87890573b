//! The last step: acks what is done, and sends on what is not.

use super::job::{Job, Progress};
use super::{Abandoned, OutageRetry, Session};
use crate::broker::{Delivery, Tag};
use crate::domain::event::{Event, Subject};
use crate::domain::processing::failure::{Failures, Hold};
use crate::domain::processing::retry::{Route, short};
use crate::ground::shutdown::Backoff;
use crate::retry_router::Forward;
use crate::store::gates::parked::ToPark;

/// Logs a line about a delivery: the same fields whatever the outcome, so that whoever collects
/// lines has one form of them. What an outcome does not have is empty, or zero.
macro_rules! delivery {
    ($level:ident, $about:expr, $end:expr) => {{
        let (about, end): (DeliveryFields<'_>, DeliveryEnd<'_>) = ($about, $end);
        tracing::$level!(
            event_id = about.event_id,
            event_type = about.event_type,
            task_id = about.subject.and_then(|subject| subject.task_id()).unwrap_or_default(),
            subject = about.subject.map(|subject| subject.to_string()).unwrap_or_default(),
            attempt = about.attempt,
            worker = about.worker,
            outcome = end.outcome,
            error = end.error,
            reason = end.reason,
            next_attempt = end.next_attempt,
            delay = end.delay,
            "delivery"
        )
    }};
}

impl Session {
    /// Acks finished deliveries, with as few frames as possible.
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
                for task in &job.tasks {
                    if task.progress == Progress::AlreadyDone {
                        let name = task.effect.effect;
                        metrics.duplicates_skipped.with_label_values(&[name]).inc();
                    }
                }
            }
            let outcome = if job.is_duplicate() { "duplicate" } else { "processed" };
            metrics.deliveries.with_label_values(&[outcome]).inc();
            let about = DeliveryFields::new(&self.tools.worker, &job.delivery, Some(&job.event));
            delivery!(info, about, DeliveryEnd { outcome, ..DeliveryEnd::default() });
        }
    }

    /// Records what happened for operators, and as open the effects of this job that are still to
    /// come, and ends our claims. Returns whether that was written. Effects that are not done here
    /// and not open are claimed by other workers, and have records that say so.
    async fn leave_open(&self, job: &Job, forward: &Forward) -> Result<bool, Abandoned> {
        let (record, effects) = (job.event_record(), job.left_open());
        let left = self.hold(|| {
            self.tools.idempotency.leave_open(record, &effects, &forward.setback, forward.letter())
        });
        let left = left.await?;
        if let Err(error) = &left {
            tracing::warn!(event_id = %record.event_id, %error, "can't record which effects are still to run");
        }
        Ok(left.is_ok())
    }

    /// Sends a copy of the message where the policy says, then acks the original. While the
    /// database or the broker is away, the delivery is held.
    pub(super) async fn route(&self, delivery: &Delivery, job: Option<&Job>, failures: Failures) {
        let _refused = job.is_none().then(|| self.span_of_refused(delivery, &failures));
        let mut forward = self.tools.router.plan(&delivery.message, &failures);
        let Some(queue) = forward.queue() else {
            if let Some(job) = job {
                self.park(job, forward, &failures).await;
            }
            return;
        };
        if let Some(job) = job {
            match self.leave_open(job, &forward).await {
                Ok(true) => forward.set_recorded(),
                Ok(false) => {}
                Err(Abandoned) => {
                    let _ = self.settlement.release(&[delivery.tag]).await;
                    return;
                }
            }
        }
        let mut backoff = Backoff::default();
        while let Err(error) = self.tools.router.send(&forward, queue).await {
            tracing::warn!(
                event_id = delivery.message.message_id.as_deref().unwrap_or("none"),
                worker = %self.tools.worker, %error, "can't publish a failed message to its next queue; retrying"
            );
            if self.pause(&mut backoff, OutageRetry::Session).await.is_err() {
                let _ = self.settlement.release(&[delivery.tag]).await;
                return;
            }
        }
        self.ack_forwarded(delivery, job.map(|job| &job.event), &failures, forward.route).await;
    }

    /// Parks the message until its gate is open, then acks the original. While the database is
    /// away, the delivery is held.
    async fn park(&self, job: &Job, mut forward: Forward, failures: &Failures) {
        let delivery = &job.delivery;
        let Some((effect, hold)) = held(failures) else { return };
        // With the row, each of its effects has a record.
        forward.set_recorded();
        let (message, body) = forward.kept();
        let event_id = job.event.metadata.event_id;
        let parked = ToPark { event_id, effect, hold, message, body };
        let (record, open) = (job.event_record(), job.left_open());
        let mut backoff = Backoff::default();
        loop {
            let park = || self.tools.idempotency.park(record, &open, &forward.setback, &parked);
            match self.hold(park).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    tracing::warn!(%event_id, worker = %self.tools.worker, %error, "can't park a message; retrying");
                    if self.pause(&mut backoff, OutageRetry::Session).await.is_ok() {
                        continue;
                    }
                }
                Err(Abandoned) => {}
            }
            let _ = self.settlement.release(&[delivery.tag]).await;
            return;
        }
        self.ack_forwarded(delivery, Some(&job.event), failures, forward.route).await;
    }

    /// Acks a message that is safe elsewhere.
    async fn ack_forwarded(
        &self,
        delivery: &Delivery,
        event: Option<&Event>,
        failures: &Failures,
        route: Route,
    ) {
        if let Err(error) = self.settlement.ack(&[delivery.tag]).await {
            tracing::debug!(%error, "can't ack a message that was passed on; the copy that the broker redelivers is skipped");
        }
        self.report(delivery, event, failures, route);
    }

    fn report(
        &self,
        delivery: &Delivery,
        event: Option<&Event>,
        failures: &Failures,
        route: Route,
    ) {
        let metrics = &self.tools.metrics;
        let about = DeliveryFields::new(&self.tools.worker, delivery, event);
        let error = failures.to_string();
        let effects = |failed: bool| {
            let such = failures.iter().filter(move |failure| failure.is_failed_attempt() == failed);
            such.filter_map(|failure| failure.effect.as_ref()).map(|effect| effect.effect)
        };
        match route {
            Route::Retry { after, attempt: next_attempt } => {
                metrics.deliveries.with_label_values(&["retried"]).inc();
                effects(true).for_each(|name| metrics.retries.with_label_values(&[name]).inc());
                let (outcome, delay) = ("retried", short(after));
                let end = DeliveryEnd { outcome, error, next_attempt, delay, reason: "" };
                delivery!(warn, about, end);
            }
            Route::Park { .. } | Route::Hold(_) => {
                metrics.deliveries.with_label_values(&["parked"]).inc();
                let waiting = effects(false);
                waiting.for_each(|name| metrics.effect_parked.with_label_values(&[name]).inc());
                let reason = failures.iter().find(|failure| !failure.is_failed_attempt());
                let reason = reason.map_or("", |failure| failure.message.as_str());
                let delay = match route {
                    Route::Park { after } => short(after),
                    Route::Hold(hold) if !hold.at_least.is_zero() => short(hold.at_least),
                    // It lasts as long as its gate is closed.
                    _ => String::new(),
                };
                let (outcome, next_attempt) = ("parked", about.attempt);
                let end = DeliveryEnd { outcome, error, next_attempt, delay, reason };
                delivery!(info, about, end);
            }
            Route::Dead(reason) => {
                let reason = reason.as_str();
                metrics.deliveries.with_label_values(&["dead"]).inc();
                metrics.dead_letters.with_label_values(&[reason]).inc();
                effects(true).for_each(|name| metrics.effect_dead.with_label_values(&[name]).inc());
                let outcome = "dead";
                delivery!(
                    error,
                    about,
                    DeliveryEnd { outcome, error, reason, ..DeliveryEnd::default() }
                );
            }
        }
    }
}

/// The effect that a message waits for in the database, and how; `None` if it waits for none.
fn held(failures: &Failures) -> Option<(&'static str, Hold)> {
    let holds = failures.iter().filter_map(|f| Some((f.effect.as_ref()?.effect, f.hold()?)));
    holds.max_by_key(|(_, hold)| hold.at_least)
}

/// The fields of each line about a delivery, whatever its outcome.
struct DeliveryFields<'a> {
    /// Of a message that can't be read as an event: its message id, or `none`.
    event_id: String,
    event_type: &'a str,
    /// `None` if the message can't be read.
    subject: Option<Subject>,
    attempt: u32,
    worker: &'a str,
}

impl<'a> DeliveryFields<'a> {
    fn new(
        worker: &'a str,
        delivery: &'a Delivery,
        event: Option<&'a Event>,
    ) -> DeliveryFields<'a> {
        let message = &delivery.message;
        let of_message = || message.message_id.clone().unwrap_or_else(|| "none".to_owned());
        DeliveryFields {
            event_id: event.map_or_else(of_message, |event| event.metadata.event_id.to_string()),
            event_type: event.map_or("unknown", |event| event.event_type.name),
            subject: event.map(|event| event.subject),
            attempt: message.attempt(),
            worker,
        }
    }
}

/// How a delivery ended, for its line.
#[derive(Default)]
struct DeliveryEnd<'a> {
    outcome: &'static str,
    /// What failed in this attempt.
    error: String,
    /// Why it is a dead letter, or what it waits for.
    reason: &'a str,
    /// The attempt that it comes back for, if it does.
    next_attempt: u32,
    /// How long until then.
    delay: String,
}
