//! The consumer: takes deliveries, brings about the effects of their events, settles them.
//!
//! Deliveries are taken in batches of whatever has arrived. The database effects of a batch are one
//! statement. Effects outside the database run side by side, each under a claim. A delivery is acked
//! when all its effects are done, or when a copy of it is safe in another queue.
//!
//! While the database or the broker is away, what is in hand is held and nothing more is taken:
//! putting it back would count against the queue's delivery limit, as if it had killed a worker.

mod batch;
mod counts;
mod job;
mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authenticity::Authenticity;
use crate::broker::{Broker, Consumption, Delivery, Settlement};
use crate::effects::{Simulation, Started};
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::ground::telemetry::Metrics;
use crate::idempotency::Idempotency;
use crate::retry_router::RetryRouter;
use crate::store::{Conflicts, Store, StoreError};

/// How many effects outside the database run at a time at most; also how many connections to the
/// mail server are worth having. Other deliveries wait for their turn without a claim, so that no
/// lease runs out in the queue.
pub const EXTERNAL_AT_ONCE: usize = 32;

/// What a worker works with.
#[derive(Clone)]
pub struct Tools {
    /// The database.
    pub store: Store,
    /// Which messages are believed.
    pub authenticity: Authenticity,
    /// The claims.
    pub idempotency: Idempotency,
    /// The way back for what fails.
    pub router: RetryRouter,
    /// What there is to do for each event.
    pub effects: Arc<[Started]>,
    /// What is to fail on purpose.
    pub simulation: Simulation,
    /// What is counted.
    pub metrics: Metrics,
    /// The worker's name, in logs and histories.
    pub worker: String,
}

/// See the module.
pub struct Consumer {
    tools: Tools,
    broker: Arc<dyn Broker>,
    concurrency: u16,
    external: Arc<Semaphore>,
}

impl Consumer {
    /// A consumer with at most `concurrency` deliveries in hand, which is also what one crash
    /// can make another worker repeat.
    pub fn new(tools: Tools, broker: Arc<dyn Broker>, concurrency: u16) -> Consumer {
        counts::expect(&tools.metrics, &tools.effects);
        Consumer {
            tools,
            broker,
            concurrency,
            external: Arc::new(Semaphore::new(EXTERNAL_AT_ONCE)),
        }
    }

    /// Works until stopped, then until what is in hand is done or the time for that is up.
    pub async fn run(self, shutdown: Shutdown) {
        // Of all sessions: a lost connection is made again without waiting for what is in hand.
        let jobs = TaskTracker::new();
        let hand_back = CancellationToken::new();
        let working = async {
            self.consume(&shutdown, &jobs, &hand_back).await;
            jobs.close();
            jobs.wait().await;
        };
        tokio::select! {
            () = working => {}
            () = shutdown.deadline() => {
                let left = jobs.len();
                tracing::warn!(worker = %self.tools.worker, left, "out of time; the rest goes back to the queue");
                hand_back.cancel();
            }
        }
    }

    /// One session after the other, until stopped.
    async fn consume(
        &self,
        shutdown: &Shutdown,
        jobs: &TaskTracker,
        hand_back: &CancellationToken,
    ) {
        let mut backoff = Backoff::default();
        let mut lost = false;
        let mut careful = false;
        while !shutdown.stopped() {
            let prefetch = if careful { 1 } else { self.concurrency };
            match self.broker.consume(prefetch).await {
                Ok(consumption) => {
                    backoff.reset();
                    tracing::info!(worker = %self.tools.worker, prefetch, "consuming");
                    lost = false;
                    let most = if careful { usize::from(self.concurrency) } else { usize::MAX };
                    let ends = (hand_back.child_token(), hand_back.clone());
                    let taken = self.session(consumption, shutdown, jobs, ends, most).await;
                    // A message that the client can't even read cuts the connection, and all that
                    // was delivered with it counts as delivered once more. So what was in flight is
                    // taken one by one after a cut: the culprit then counts alone, until the broker
                    // sets it aside.
                    careful = taken < most;
                    if !shutdown.stopped() && taken < most {
                        tracing::warn!(worker = %self.tools.worker, "the consumer was cut off; reconnecting");
                    }
                }
                Err(error) => {
                    if !lost {
                        tracing::warn!(worker = %self.tools.worker, %error, "can't consume; trying until it works");
                    }
                    lost = true;
                    // A queue that was deleted is brought back, unless the broker is not to be asked for
                    // that; any other cause shows again above.
                    let _ = self.broker.declare().await;
                    shutdown.sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// One consumer on the broker, from its start to its end or until it has taken `most` deliveries.
    /// Returns how many it took.
    async fn session(
        &self,
        consumption: Consumption,
        shutdown: &Shutdown,
        jobs: &TaskTracker,
        (ended, hand_back): (CancellationToken, CancellationToken),
        most: usize,
    ) -> usize {
        let Consumption { mut deliveries, settlement } = consumption;
        let session = Session {
            tools: self.tools.clone(),
            settlement,
            shutdown: shutdown.clone(),
            ended,
            hand_back,
            jobs: jobs.clone(),
            external: Arc::clone(&self.external),
            holding: Arc::default(),
        };
        let mut taken = 0;
        while taken < most {
            let first = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                delivery = deliveries.next() => delivery,
            };
            let Some(first) = first else {
                // Whatever is not settled by now will be delivered again.
                session.ended.cancel();
                return taken;
            };
            let mut batch = vec![first];
            while batch.len() < usize::from(self.concurrency) {
                let Some(delivery) = deliveries.try_next() else { break };
                batch.push(delivery);
            }
            taken += batch.len();
            session.take(batch).await;
        }
        deliveries.cancel().await;
        let rest: Vec<Delivery> = std::iter::from_fn(|| deliveries.try_next()).collect();
        taken += rest.len();
        if !rest.is_empty() {
            session.take(rest).await;
        }
        taken
    }
}

/// What the jobs of one session share.
#[derive(Clone)]
struct Session {
    tools: Tools,
    settlement: Arc<dyn Settlement>,
    shutdown: Shutdown,
    /// The consumer has ended: what is unsettled will come again, so there is no use in going on.
    ended: CancellationToken,
    /// The worker's time is up: nothing goes on.
    hand_back: CancellationToken,
    jobs: TaskTracker,
    external: Arc<Semaphore>,
    /// Whether the database is known to be away.
    holding: Arc<AtomicBool>,
}

/// A delivery was given up: it will be delivered again.
struct GivenUp;

impl Session {
    /// Repeats something until it works or fails for a reason of its own. `Err(GivenUp)` if the
    /// session ends first, or if the worker is to stop while the dependency is away.
    async fn hold<T, F, Fut>(&self, attempt: F) -> Result<Result<T, StoreError>, GivenUp>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        self.repeat(attempt, Patience::Session).await
    }

    /// The same for what is done already and only has to be noted: it goes on where the session has ended,
    /// while the worker has time. The message comes again to whoever consumes by then, and only the note
    /// keeps it from being done again.
    async fn insist<T, F, Fut>(&self, attempt: F) -> Result<Result<T, StoreError>, GivenUp>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        self.repeat(attempt, Patience::Worker).await
    }

    async fn repeat<T, F, Fut>(
        &self,
        mut attempt: F,
        patience: Patience,
    ) -> Result<Result<T, StoreError>, GivenUp>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut backoff = Backoff::default();
        // After some of these it counts as a failed attempt, and the message waits in a delay queue.
        let mut conflicts = Conflicts::default();
        loop {
            let outcome = attempt().await;
            if conflicts.may_try_again(&outcome) {
                self.pause(&mut backoff, patience).await?;
                continue;
            }
            match outcome {
                Err(StoreError::Unavailable(error)) => {
                    // Many deliveries meet one outage: the first says so, and the first to get through.
                    if !self.holding.swap(true, Ordering::Relaxed) {
                        tracing::warn!(worker = %self.tools.worker, error, "holding deliveries until the database is back");
                    }
                    self.pause(&mut backoff, patience).await?;
                }
                result => {
                    if self.holding.swap(false, Ordering::Relaxed) {
                        tracing::info!(worker = %self.tools.worker, "the database is back");
                    }
                    return Ok(result);
                }
            }
        }
    }

    /// Waits before another try of something that is away.
    async fn pause(&self, backoff: &mut Backoff, patience: Patience) -> Result<(), GivenUp> {
        let gives_up = async {
            match patience {
                Patience::Session => tokio::select! {
                    () = self.ended.cancelled() => {}
                    () = self.shutdown.requested() => {}
                },
                Patience::Worker => self.hand_back.cancelled().await,
            }
        };
        tokio::select! {
            () = gives_up => Err(GivenUp),
            () = tokio::time::sleep(backoff.pause()) => Ok(()),
        }
    }
}

/// For how long something is tried that fails because a dependency is away.
#[derive(Debug, Clone, Copy)]
enum Patience {
    /// Until the session ends or the worker is to stop.
    Session,
    /// Until the worker is out of time.
    Worker,
}
