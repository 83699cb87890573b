//! The first step: reads a batch of deliveries and runs its database effects.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use chrono::Utc;
use uuid::Uuid;

use super::job::{Job, Progress};
use super::{Abandoned, OutageRetry, Session, counts, spans};
use crate::authenticity::Authority;
use crate::broker::Delivery;
use crate::domain::event::Event;
use crate::domain::processing::effect::EffectKey;
use crate::domain::processing::failure::Failure;
use crate::effects::{DatabaseWork, Outcome, Work};
use crate::ground::shutdown::Backoff;
use crate::store::StoreError;
use crate::store::delivery::processed::EventRecord;

impl Session {
    /// Takes a batch as far as the database effects go; the other effects go on in tasks.
    pub(super) async fn take(&self, batch: Vec<Delivery>) {
        let mut jobs = Vec::with_capacity(batch.len());
        let Ok(authority) = self.authority().await else {
            let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag).collect();
            // On a lost connection they are redelivered anyway.
            let _ = self.settlement.release(&tags).await;
            return;
        };
        for delivery in batch {
            if !authority.accepts(&delivery.message) {
                let session = self.clone();
                self.jobs.spawn(async move {
                    session.route(&delivery, None, Failure::not_ours().into()).await;
                });
                continue;
            }
            let message = &delivery.message;
            let decoded = self.tools.event_types.decode(
                &message.body,
                message.message_id.as_deref(),
                message.message_type.as_deref(),
            );
            match decoded {
                Ok(event) => {
                    self.observe_start(&delivery, &event);
                    let span = self.span(&delivery);
                    jobs.push(Job::new(delivery, event, &self.tools.effects, span));
                }
                Err(malformed) => {
                    let session = self.clone();
                    self.jobs.spawn(async move {
                        let failure = Failure::malformed(malformed.to_string());
                        session.route(&delivery, None, failure.into()).await;
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

    /// Says which messages are believed. While the database is away and the key has never been
    /// read, the batch is held.
    async fn authority(&self) -> Result<Authority, Abandoned> {
        let asking = || self.tools.authenticity.authority();
        let mut backoff = Backoff::default();
        loop {
            match self.hold(asking).await? {
                Ok(authority) => return Ok(authority),
                Err(error) => {
                    tracing::error!(worker = %self.tools.worker, %error, "the installation's key can't be read; retrying");
                    self.pause(&mut backoff, OutageRetry::Session).await?;
                }
            }
        }
    }

    fn observe_start(&self, delivery: &Delivery, event: &Event) {
        // What was parked or is replayed is at attempt 1 too, long after its commit.
        let is_first = delivery.message.attempt() == 1 && !delivery.redelivered;
        if is_first && !delivery.message.is_recorded() {
            let road = Utc::now() - event.metadata.timestamp;
            let seconds = road.to_std().unwrap_or_default().as_secs_f64();
            self.tools.metrics.commit_to_effect_seconds.observe(seconds);
        }
    }

    /// Runs every database effect, each for all events of the batch at once.
    async fn database_effects(&self, jobs: &mut [Job]) -> Result<(), Abandoned> {
        for (index, started) in self.tools.effects.iter().enumerate() {
            if let Work::Database(work) = &started.work {
                self.database_effect(index, work.as_ref(), jobs).await?;
            }
        }
        Ok(())
    }

    async fn database_effect(
        &self,
        index: usize,
        work: &dyn DatabaseWork,
        jobs: &mut [Job],
    ) -> Result<(), Abandoned> {
        let effect = self.tools.effects[index].effect.name();
        let mut wanted: Vec<&mut Job> = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Some(task) = job.task(index) else { continue };
            if let Some(held) = self.gates.closed(effect, None) {
                task.progress = Progress::Failed(held);
                continue;
            }
            match self.tools.simulation.failure(effect) {
                Some(error) => {
                    let failed = Err(Failure::transient(error));
                    counts::observe(&self.tools.metrics, effect, &failed, Duration::ZERO);
                    task.progress = failed.map_or_else(Progress::Failed, Progress::Ended);
                }
                None => wanted.push(job),
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let (started, begun) = (std::time::Instant::now(), SystemTime::now());
        let recorded = self.record(work, &wanted).await?;
        let took = started.elapsed();
        let mut fresh = recorded.fresh;
        for job in wanted {
            let id = job.event.metadata.event_id;
            let ended = match recorded.failed.get(&id) {
                Some(error) => Err(Failure::transient(error.clone())),
                // A second copy in this batch finds its event done by the first.
                None if fresh.remove(&id) => Ok(Outcome::Done),
                None => {
                    set(job, index, Progress::AlreadyDone);
                    continue;
                }
            };
            counts::observe(&self.tools.metrics, effect, &ended, took);
            let key = EffectKey::only(effect);
            spans::together(&job.span, &key, begun, ended.as_ref().err());
            set(job, index, ended.map_or_else(Progress::Failed, Progress::Ended));
        }
        Ok(())
    }

    /// Runs the effect for the whole batch. If that fails for its content, runs it event by event,
    /// so that one bad event harms no other.
    async fn record(
        &self,
        work: &dyn DatabaseWork,
        wanted: &[&mut Job],
    ) -> Result<Recorded, Abandoned> {
        let mut distinct: HashMap<Uuid, (&Event, EventRecord)> = HashMap::new();
        for job in wanted {
            let record = job.event_record();
            let (_, one) = distinct.entry(record.event_id).or_insert((&job.event, record));
            // What one copy of a message knows is true of all copies.
            one.recorded |= record.recorded;
        }
        let events: Vec<(&Event, EventRecord)> = distinct.into_values().collect();
        let mut recorded = Recorded::default();
        match self.record_once(work, &events).await? {
            Ok(fresh) => recorded.fresh.extend(fresh),
            Err(error) => {
                tracing::warn!(worker = %self.tools.worker, %error, count = events.len(), "a batch failed; retrying its events one by one");
                for event in events {
                    match self.record_once(work, &[event]).await? {
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
        work: &dyn DatabaseWork,
        events: &[(&Event, EventRecord)],
    ) -> Result<Result<Vec<Uuid>, StoreError>, Abandoned> {
        self.hold(|| async {
            let mut connection = self.tools.store.connection().await?;
            work.run_once(&mut connection, events).await
        })
        .await
    }

    /// Returns deliveries to the queue that could not even be begun.
    async fn give_back(&self, jobs: &[Job]) {
        let tags: Vec<_> = jobs.iter().map(|job| job.delivery.tag).collect();
        // On a lost connection they are redelivered anyway.
        let _ = self.settlement.release(&tags).await;
    }
}

#[derive(Default)]
struct Recorded {
    fresh: HashSet<Uuid>,
    failed: HashMap<Uuid, String>,
}

fn set(job: &mut Job, index: usize, progress: Progress) {
    if let Some(task) = job.task(index) {
        task.progress = progress;
    }
}
