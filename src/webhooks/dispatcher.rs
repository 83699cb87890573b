//! Sends the deliveries that are due.
//!
//! A delivery is a row with a due time. It is taken under a lease, sent, and what came of it is
//! recorded; a process that dies in between leaves it to others when the lease runs out, and then
//! the endpoint may get it once more, with the same id.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::client::{TIME_LIMIT, WebhookClient};
use super::delivery::Sender;
use super::keyring::Keyring;
use super::window::{Room, Share};
use crate::ground::batcher::Batcher;
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::ground::telemetry::Metrics;
use crate::store::webhooks::settling::{self, Tried};
use crate::store::webhooks::{fan_out, taking};
use crate::store::{Store, StoreError};

/// How often to look whether there is an endpoint.
const WITHOUT_ENDPOINTS: Duration = Duration::from_secs(1);
/// How often to look for deliveries that have become due.
const EVERY: Duration = Duration::from_millis(250);
/// How often it is said that nothing can be sent.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);
/// How long freed places are gathered, so that one statement fills many.
const GATHERED: Duration = Duration::from_millis(5);
/// How long a delivery is leased: a try, and the recording of it.
const LEASE: Duration = Duration::from_secs(40);
/// How many tries are recorded in one statement.
const BATCH: usize = 256;

/// Sends deliveries. Clones share what is in flight.
#[derive(Clone)]
pub struct Dispatcher(Arc<Sender>);

impl Dispatcher {
    /// A dispatcher of the worker with this name. Without keys it sends nothing.
    pub fn new(
        store: Store,
        client: WebhookClient,
        keyring: Option<Keyring>,
        metrics: Metrics,
        worker: &str,
    ) -> Dispatcher {
        let tried = {
            let store = store.clone();
            Batcher::start(BATCH, move |tried: Vec<Tried>| {
                let store = store.clone();
                async move { settle_all(&store, tried).await }
            })
        };
        let (windows, wake) = (Mutex::default(), Arc::default());
        let worker = worker.to_owned();
        Dispatcher(Arc::new(Sender {
            store,
            client,
            keyring,
            metrics,
            worker,
            windows,
            wake,
            tried,
        }))
    }

    /// Whoever makes deliveries tells it.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.0.wake)
    }

    /// Sends until the process is told to stop; then what is in flight comes to its end, or the
    /// time for draining does.
    pub async fn run(self, shutdown: Shutdown) {
        if self.0.keyring.is_none() {
            return self.complain(&shutdown).await;
        }
        let mut backoff = Backoff::default();
        while !shutdown.stopped() {
            let pause = match self.take().await {
                Ok(taken) => {
                    backoff.reset();
                    match taken {
                        None => WITHOUT_ENDPOINTS,
                        Some(0) => EVERY,
                        // What was taken may not be all there is.
                        Some(_) => GATHERED,
                    }
                }
                Err(error) => {
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::warn!(%error, "can't take webhook deliveries; retrying");
                    }
                    backoff.pause()
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => { shutdown.sleep(GATHERED).await; }
                _ = shutdown.sleep(pause) => {}
            }
        }
        tokio::select! {
            () = self.drained() => {}
            () = shutdown.deadline() => {
                let left = self.0.windows().in_flight();
                tracing::warn!(left, "DRAIN_TIMEOUT is over; deliveries in flight are left to other workers");
            }
        }
    }

    /// Says, while there are webhooks, that none of them is sent to. Their deliveries wait.
    async fn complain(&self, shutdown: &Shutdown) {
        loop {
            let asked =
                async { fan_out::any_enabled(&mut *self.0.store.connection().await?).await };
            if asked.await.unwrap_or(false) {
                tracing::error!(
                    "SECRET_KEY is not set, so no webhook can be signed, and deliveries wait: set it as for serve"
                );
            }
            if !shutdown.sleep(BETWEEN_COMPLAINTS).await {
                return;
            }
        }
    }

    async fn drained(&self) {
        while self.0.windows().in_flight() > 0 {
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Takes what is due and there is room for. Returns how many deliveries that are; `None` if
    /// there is no endpoint.
    async fn take(&self) -> Result<Option<usize>, StoreError> {
        let Room { trusted, doubtful, endpoints } = self.0.windows().room();
        if trusted == 0 && doubtful == 0 {
            return Ok(Some(0));
        }
        let mut connection = self.0.store.connection().await?;
        if !fan_out::any_enabled(&mut connection).await? {
            return Ok(None);
        }
        let small = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let share = |share: Share| (share.id, small(share.most), share.doubtful);
        let room = taking::Room {
            trusted: small(trusted),
            doubtful: small(doubtful),
            endpoints: endpoints.into_iter().map(share).collect(),
            lease: LEASE,
        };
        let taken = taking::take(&mut connection, &room).await?;
        let count = taken.len();
        for row in taken {
            self.0.windows().begin(row.webhook_id);
            tokio::spawn(Arc::clone(&self.0).deliver(row));
        }
        Ok(Some(count))
    }
}

/// Records a batch: of several tries of one delivery each in a statement of its own, in order. If a
/// batch fails for its content, records one by one.
async fn settle_all(store: &Store, tried: Vec<Tried>) -> Vec<Result<(), StoreError>> {
    let keys: HashSet<_> = tried.iter().map(|one| (one.webhook_id, one.delivery_id)).collect();
    if keys.len() < tried.len() {
        return one_by_one(store, &tried).await;
    }
    match settle(store, &tried).await {
        Err(StoreError::Fault(_) | StoreError::TooSlow(_)) if tried.len() > 1 => {
            one_by_one(store, &tried).await
        }
        answer => vec![answer; tried.len()],
    }
}

async fn one_by_one(store: &Store, tried: &[Tried]) -> Vec<Result<(), StoreError>> {
    let mut answers = Vec::with_capacity(tried.len());
    for one in tried {
        answers.push(settle(store, std::slice::from_ref(one)).await);
    }
    answers
}

async fn settle(store: &Store, tried: &[Tried]) -> Result<(), StoreError> {
    settling::settle(&mut *store.connection().await?, tried).await
}

/// A try ends well before its lease does, so that there is time to record it.
const _: () = assert!(TIME_LIMIT.as_secs() * 2 < LEASE.as_secs());
