//! The first step: read a batch of deliveries and bring about its database effects in one statement.

use std::collections::{HashMap, HashSet};

use chrono::Utc;
use uuid::Uuid;

use super::job::{Job, Progress};
use super::{GivenUp, Patience, Session};
use crate::authenticity::Authority;
use crate::broker::Delivery;
use crate::defects::{self, Defect};
use crate::domain::event::Event;
use crate::effects::{self, Effect, Outcome};
use crate::retry_router::Trouble;
use crate::shutdown::Backoff;
use crate::store::processed::Subject;
use crate::store::{StoreError, activity};

impl Session {
    /// Takes a batch as far as the database alone can; the rest goes on in tasks.
    pub(super) async fn take(&self, batch: Vec<Delivery>) {
        if defects::has(Defect::AckBeforeEffect) {
            let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag).collect();
            // Later acks find these settled and pass them over.
            let _ = self.settlement.ack(&tags).await;
        }
        let mut jobs = Vec::with_capacity(batch.len());
        let Ok(authority) = self.authority().await else {
            let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag).collect();
            // On a lost connection they come back anyway.
            let _ = self.settlement.release(&tags).await;
            return;
        };
        for delivery in batch {
            if !authority.accepts(&delivery.message) {
                let session = self.clone();
                self.jobs.spawn(async move {
                    session.route(&delivery, None, Trouble::NotOurs).await;
                });
                continue;
            }
            let message = &delivery.message;
            let decoded = Event::decode(
                &message.body,
                message.message_id.as_deref(),
                message.message_type.as_deref(),
            );
            match decoded {
                Ok(event) => {
                    self.observe_start(&delivery, &event);
                    jobs.push(Job::new(delivery, event));
                }
                Err(malformed) => {
                    let session = self.clone();
                    self.jobs.spawn(async move {
                        session
                            .route(&delivery, None, Trouble::Malformed(malformed.to_string()))
                            .await;
                    });
                }
            }
        }
        if self.database_effects(&mut jobs).await.is_err() {
            self.give_back(&jobs).await;
            return;
        }
        let (finished, open): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_finished);
        self.settle_finished(finished).await;
        for job in open {
            let session = self.clone();
            self.jobs.spawn(async move { session.go_on(job).await });
        }
    }

    /// Who is believed; held for while the database is away and has never been asked.
    async fn authority(&self) -> Result<Authority, GivenUp> {
        let asking = || self.tools.authenticity.authority();
        let mut backoff = Backoff::default();
        loop {
            match self.hold(asking).await? {
                Ok(authority) => return Ok(authority),
                Err(error) => {
                    tracing::error!(worker = %self.tools.worker, %error, "the installation's key can't be read; trying until it can");
                    self.pause(&mut backoff, Patience::Session).await?;
                }
            }
        }
    }

    fn observe_start(&self, delivery: &Delivery, event: &Event) {
        if delivery.message.attempt() == 1 && !delivery.redelivered {
            let road = Utc::now() - event.metadata.timestamp;
            let seconds = road.to_std().unwrap_or_default().as_secs_f64();
            self.tools.metrics.commit_to_effect_seconds.observe(seconds);
        }
    }

    /// Runs every effect that is in the database, each for all events of the batch at once.
    async fn database_effects(&self, jobs: &mut [Job]) -> Result<(), GivenUp> {
        let mut wanted: Vec<usize> = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter_mut().enumerate() {
            let effect = Effect::Activity;
            if effects::of(job.event.event_type).contains(&effect) && effect.applies(&job.event) {
                match self.tools.simulation.failure(effect) {
                    Some(error) => job.set(effect, Progress::Ended(Outcome::Transient(error))),
                    None => wanted.push(index),
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let started = std::time::Instant::now();
        let recorded = self.record(jobs, &wanted).await?;
        let seconds = started.elapsed().as_secs_f64();
        let mut fresh = recorded.fresh;
        for index in wanted {
            let Some(job) = jobs.get_mut(index) else { continue };
            let id = job.event.metadata.event_id;
            let progress = match recorded.failed.get(&id) {
                Some(error) => Progress::Ended(Outcome::Transient(error.clone())),
                // A second copy in this batch finds its event done by the first.
                None if fresh.remove(&id) => Progress::Ended(Outcome::Done),
                None => Progress::AlreadyDone,
            };
            if let Progress::Ended(outcome) = &progress {
                let labels = [Effect::Activity.name(), outcome.label()];
                self.tools.metrics.effect_seconds.with_label_values(&labels).observe(seconds);
            }
            job.set(Effect::Activity, progress);
        }
        Ok(())
    }

    /// Writes the batch; where it fails for its content, one by one, so that one bad event harms
    /// no other.
    async fn record(&self, jobs: &[Job], wanted: &[usize]) -> Result<Recorded, GivenUp> {
        let mut distinct: HashMap<Uuid, (&Event, Subject)> = HashMap::new();
        for job in wanted.iter().filter_map(|index| jobs.get(*index)) {
            let subject = job.subject();
            let (_, one) = distinct.entry(subject.event_id).or_insert((&job.event, subject));
            // What one copy of a message knows is true of all.
            one.recorded |= subject.recorded;
        }
        let events: Vec<(&Event, Subject)> = distinct.into_values().collect();
        let mut recorded = Recorded::default();
        match self.record_once(&events).await? {
            Ok(fresh) => recorded.fresh.extend(fresh),
            Err(error) => {
                tracing::warn!(worker = %self.tools.worker, %error, count = events.len(), "a batch failed; trying one by one");
                for event in events {
                    match self.record_once(&[event]).await? {
                        Ok(fresh) => recorded.fresh.extend(fresh),
                        Err(error) => {
                            recorded.failed.insert(event.1.event_id, error.to_string());
                        }
                    }
                }
            }
        }
        Ok(recorded)
    }

    async fn record_once(
        &self,
        events: &[(&Event, Subject)],
    ) -> Result<Result<Vec<Uuid>, StoreError>, GivenUp> {
        self.hold(|| async {
            let mut connection = self.tools.store.connection().await?;
            activity::record_once(&mut connection, events).await
        })
        .await
    }

    /// Hands deliveries back that could not even be begun.
    async fn give_back(&self, jobs: &[Job]) {
        let tags: Vec<_> = jobs.iter().map(|job| job.delivery.tag).collect();
        // On a lost connection they come back anyway.
        let _ = self.settlement.release(&tags).await;
    }
}

#[derive(Default)]
struct Recorded {
    fresh: HashSet<Uuid>,
    failed: HashMap<Uuid, String>,
}
