//! The publisher: takes events from the outbox to the broker.
//!
//! Events that the writers of this process hand over ([`Handover`]) are leased already; the
//! publisher leases all others in batches. It publishes one batch at a time with confirms, and
//! marks confirmed events as published, many in one statement. No transaction is open while it
//! waits for the broker. A crash between confirm and mark publishes an event twice, which consumers
//! expect. After an earlier crash, another publisher takes the event when the lease ends.

mod error;
mod handover;
mod message;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use handover::{Handover, Ticket};
pub use message::copy_of;

use crate::authenticity::Authenticity;
use crate::broker::{Broker, BrokerError, Destination, Outgoing};
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::ground::telemetry::Metrics;
use crate::store::delivery::outbox::{self, Lease, OutboxRow};
use crate::store::{Store, StoreError};
use error::PublishError;
use handover::{LEASE, LeasedBatch};
use message::Publishable;

/// How many events are leased at once: enough to keep the broker busy through a round trip.
const BATCH: usize = 256;
/// The pause after a batch that was not full, so that the next one collects more events: the broker
/// writes each batch to disk. A lone event is sent at once.
const GAP: Duration = Duration::from_millis(1);
/// How long publishing may take: less than the lease, so that no other publisher sends the same.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a confirmed event may wait to be marked with others. A crash publishes it again.
const MARK_AFTER: Duration = Duration::from_millis(50);
/// How often to look for events left by another process, or written without a publisher.
const POLL: Duration = Duration::from_millis(500);
/// How often a stopping publisher tries to publish what is left before it gives up.
const LAST_TRIES: u32 = 3;

/// Moves events from the outbox to the broker: see the module.
pub struct Publisher {
    store: Store,
    authenticity: Authenticity,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
    handover: Handover,
    handed: UnboundedReceiver<LeasedBatch>,
    /// LeasedBatch over, but not sent yet.
    pending: Vec<LeasedBatch>,
    /// Confirmed by the broker, but not marked yet; and when the first of them was sent.
    confirmed: Vec<Uuid>,
    confirmed_since: Instant,
    sent_at: Instant,
    /// When to look in the outbox next, if nobody wakes the publisher.
    look_at: Instant,
}

impl Publisher {
    /// A publisher, and the [`Handover`] for those who write events in this process.
    pub fn new(store: Store, broker: Arc<dyn Broker>, metrics: Metrics) -> (Publisher, Handover) {
        let (handover, handed) = Handover::new(&metrics);
        let publisher = Publisher {
            authenticity: Authenticity::new(store.clone()),
            store,
            broker,
            metrics,
            handover: handover.clone(),
            handed,
            pending: Vec::new(),
            confirmed: Vec::new(),
            confirmed_since: Instant::now(),
            sent_at: Instant::now(),
            look_at: Instant::now(),
        };
        (publisher, handover)
    }

    /// Publishes until stopped, then publishes what is left.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        let (mut failing, mut last_tries) = (false, 0);
        loop {
            let last = shutdown.stopped();
            match self.pass(failing, last).await {
                Ok(published) => {
                    if failing {
                        tracing::info!("publishing again");
                    }
                    failing = false;
                    backoff.reset();
                    if last && published == 0 {
                        // There is no next lease to mark these events with.
                        let _ = self.lease(0).await;
                        return;
                    }
                    if published < BATCH && !last {
                        self.wait(published, &shutdown).await;
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "can't publish; events wait in the outbox");
                    }
                    failing = true;
                    self.give_up().await;
                    if !last {
                        // New events must not shorten the pause: they don't end the outage.
                        shutdown.sleep(backoff.pause()).await;
                        continue;
                    }
                    // The connection may have ended with the threads that served.
                    last_tries += 1;
                    if last_tries == LAST_TRIES {
                        return;
                    }
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Waits until there is something to publish or to mark, or the stop is requested.
    async fn wait(&mut self, published: usize, shutdown: &Shutdown) {
        if published > 0 {
            tokio::time::sleep_until(self.sent_at + GAP).await;
        }
        if !self.pending.is_empty() {
            return;
        }
        let alarm = match self.confirmed.is_empty() {
            true => self.look_at,
            false => self.look_at.min(self.confirmed_since + MARK_AFTER),
        };
        tokio::select! {
            Some(handed) = self.handed.recv() => self.pending.push(handed),
            () = self.handover.woken() => {}
            () = tokio::time::sleep_until(alarm) => {}
            () = shutdown.requested() => {}
        }
    }

    /// Publishes what there is, and returns how many events that were. After a failure it pings the
    /// broker first, so that an outage doesn't lease and release the same events over and over.
    async fn pass(&mut self, after_failure: bool, last: bool) -> Result<usize, PublishError> {
        if after_failure {
            self.broker.ping().await?;
        }
        // Take handed-over events before reading the outbox: older ones there must go with them.
        self.take_handed();
        self.release_stale().await?;
        let look = self.handover.take_left() || self.look_at <= Instant::now();
        let (mut events, mut leased_until) = (Vec::new(), Instant::now() + LEASE);
        if look || after_failure || last {
            events = self.lease(BATCH).await?.iter().map(message::of_row).collect();
            self.look_at = Instant::now() + POLL;
        }
        // A full batch: more may be left. Later events wait, and nothing is handed over meanwhile.
        let behind = events.len() == BATCH;
        let newest = events.iter().map(|event: &Publishable| event.id).max();
        for handed in std::mem::take(&mut self.pending) {
            if behind && handed.events.iter().any(|event| Some(event.id) > newest) {
                self.pending.push(handed);
                continue;
            }
            leased_until = leased_until.min(handed.leased_until);
            events.extend(handed.events);
        }
        // Within a process, ids ascend in the order of its changes.
        events.sort_unstable_by_key(|event| event.id);
        let count = events.len();
        match behind {
            true => {
                self.handover.close();
                self.handover.wake();
            }
            false if look || after_failure => self.handover.open(),
            false => {}
        }
        self.publish(events, leased_until).await?;
        if self.confirmed.len() >= BATCH
            || !self.confirmed.is_empty() && self.confirmed_since.elapsed() >= MARK_AFTER
        {
            self.lease(0).await?;
        }
        Ok(count)
    }

    fn take_handed(&mut self) {
        self.pending.extend(std::iter::from_fn(|| self.handed.try_recv().ok()));
    }

    /// Releases handed-over events whose lease could end before the broker answers, and all that
    /// were handed over after them. They are found in the outbox again, in their order.
    async fn release_stale(&mut self) -> Result<(), StoreError> {
        let soon = Instant::now() + PUBLISH_TIMEOUT;
        let Some(first) = self.pending.iter().position(|handed| handed.leased_until < soon) else {
            return Ok(());
        };
        let stale = self.pending.drain(first..).flat_map(|handed| handed.events);
        let stale = stale.map(|event| event.id).filter(|id| !self.confirmed.contains(id));
        let stale = stale.collect();
        self.release(stale).await
    }

    /// Marks confirmed events as published, and leases at most `limit` others.
    async fn lease(&mut self, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let mut connection = self.store.connection().await?;
        let lease = Lease { owner: self.handover.owner(), length: LEASE };
        let rows =
            outbox::mark_and_lease(&mut connection, &self.confirmed, lease, limit as i64).await?;
        self.confirmed.clear();
        Ok(rows)
    }

    /// Publishes events leased until `leased_until`, and notes which ones the broker has confirmed.
    async fn publish(
        &mut self,
        mut events: Vec<Publishable>,
        leased_until: Instant,
    ) -> Result<(), PublishError> {
        if events.is_empty() {
            return Ok(());
        }
        let authority = self.authenticity.authority().await?;
        self.sent_at = Instant::now();
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let spans = spans::sending(&mut events, self.broker.as_ref());
        let batch = events.into_iter().map(|Publishable { mut message, .. }| {
            authority.sign(&mut message);
            Outgoing { to: Destination::Main, message }
        });
        let publishing = self.broker.publish(batch.collect());
        let until = leased_until - (LEASE - PUBLISH_TIMEOUT);
        let answers = timeout_at(until, publishing)
            .await
            .unwrap_or_else(|_| vec![Err(BrokerError::ConfirmTimeout(PUBLISH_TIMEOUT)); ids.len()]);
        spans.end(&answers);
        let mut unconfirmed = Vec::new();
        let mut first_error = None;
        let before = self.confirmed.len();
        if before == 0 {
            self.confirmed_since = self.sent_at;
        }
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    tracing::debug!(event_id = %id, "published");
                    self.confirmed.push(id);
                }
                Err(error) => {
                    tracing::debug!(event_id = %id, %error, "not published");
                    unconfirmed.push(id);
                    first_error.get_or_insert(error);
                }
            }
        }
        self.metrics.events_published.inc_by((self.confirmed.len() - before) as u64);
        self.metrics.publish_failures.inc_by(unconfirmed.len() as u64);
        self.release(unconfirmed).await?;
        match first_error {
            None => Ok(()),
            // The queue is gone, not the broker: declare it again.
            Some(BrokerError::Returned(_)) => Ok(self.broker.declare().await?),
            Some(error) => Err(error.into()),
        }
    }

    /// Releases events, so that the next publisher to look takes them.
    async fn release(&mut self, ids: Vec<Uuid>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.handover.wake();
        outbox::release(&mut *self.store.connection().await?, self.handover.owner(), ids).await
    }

    /// After a failure: stops accepting events from the writers, and releases those already handed
    /// over. If the database can't be reached, the leases end by themselves.
    async fn give_up(&mut self) {
        self.handover.close();
        self.take_handed();
        let events = self.pending.drain(..).flat_map(|handed| handed.events);
        let ids = events.map(|event| event.id).collect();
        let told = match self.lease(0).await {
            Ok(_) => self.release(ids).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::debug!(%error, "can't release the leases of unpublished events; they expire by themselves");
        }
    }
}
