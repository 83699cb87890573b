//! The consumer: takes deliveries, runs the effects of their events, and settles them.
//!
//! It takes deliveries in batches of whatever has arrived. A database effect runs once for the
//! whole batch. Effects outside the database run side by side, each under a claim. A delivery is
//! acked when all its effects are done, or when a copy of it is safe in another queue.
//!
//! While the database or the broker is away, the consumer holds the deliveries it has and takes no
//! more: requeueing them would count against the queue's delivery limit, as if they had killed a
//! worker.

mod batch;
mod counts;
mod job;
mod outage;
mod settle;
mod spans;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authenticity::Authenticity;
use crate::broker::{Broker, Consumption, Delivery, Settlement};
use crate::domain::event::EventTypes;
use crate::effects::{Simulation, Started};
use crate::gates::{EffectLimits, Gates};
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::ground::telemetry::Metrics;
use crate::idempotency::Idempotency;
use crate::retry_router::RetryRouter;
use crate::store::Store;
use outage::{Abandoned, OutageRetry};

/// How many effects outside the database run at a time at most; also how many connections to the
/// mail server are worth having. Other deliveries wait for their turn without a claim, so that no
/// lease runs out meanwhile.
pub const EXTERNAL_AT_ONCE: usize = 32;

/// What a worker needs for its work.
#[derive(Clone)]
pub struct WorkerContext {
    /// The database.
    pub store: Store,
    /// Says which messages are believed.
    pub authenticity: Authenticity,
    /// Claims effects outside the database.
    pub idempotency: Idempotency,
    /// Sends failed messages to a delay queue or to the dead letters.
    pub router: RetryRouter,
    /// The types of events that this worker knows.
    pub event_types: EventTypes,
    /// The effects, each with its work.
    pub effects: Arc<[Started]>,
    /// Which effects fail on purpose.
    pub simulation: Simulation,
    /// The metrics to count in.
    pub metrics: Metrics,
    /// The worker's name, in logs and histories.
    pub worker: String,
}

/// Takes deliveries and settles them: see the module.
pub struct Consumer {
    tools: WorkerContext,
    gates: Gates,
    broker: Arc<dyn Broker>,
    concurrency: u16,
    external: Arc<Semaphore>,
}

impl Consumer {
    /// A consumer with at most `concurrency` deliveries in flight. A crash can make another worker
    /// repeat that many.
    pub fn new(tools: WorkerContext, broker: Arc<dyn Broker>, concurrency: u16) -> Consumer {
        counts::expect(&tools.metrics, &tools.effects);
        let gates = Gates::new(tools.store.clone(), &tools.worker, EffectLimits::default());
        Consumer {
            tools,
            gates,
            broker,
            concurrency,
            external: Arc::new(Semaphore::new(EXTERNAL_AT_ONCE)),
        }
    }

    /// The same with these gates, which somebody must keep (`gates::Keeper`). Without, nothing is
    /// kept from running.
    pub fn with_gates(self, gates: Gates) -> Consumer {
        Consumer { gates, ..self }
    }

    /// Works until stopped, then until all deliveries are settled or the time for that is up.
    pub async fn run(self, shutdown: Shutdown) {
        // Shared by all sessions: after a lost connection, a new session doesn't wait for the jobs
        // of the old.
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
                tracing::warn!(worker = %self.tools.worker, left, "DRAIN_TIMEOUT is over; unfinished deliveries go back to the queue");
                hand_back.cancel();
            }
        }
    }

    /// Runs one session after the other, until stopped.
    async fn consume(
        &self,
        shutdown: &Shutdown,
        jobs: &TaskTracker,
        hand_back: &CancellationToken,
    ) {
        let mut backoff = Backoff::default();
        let (mut lost, mut careful) = (false, false);
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
                    // A message that the client can't even read cuts the connection, and all
                    // messages delivered with it count as delivered once more. So after a cut,
                    // those that were in flight are taken one by one: only the culprit's count goes
                    // on rising, until the broker sets it aside.
                    careful = taken < most;
                    if !shutdown.stopped() && taken < most {
                        tracing::warn!(worker = %self.tools.worker, "the consumer was cut off; reconnecting");
                    }
                }
                Err(error) => {
                    if !lost {
                        tracing::warn!(worker = %self.tools.worker, %error, "can't consume; retrying");
                    }
                    lost = true;
                    // The queue may have been deleted: declare it again, unless this process may
                    // not. Any other cause shows again above.
                    let _ = self.broker.declare().await;
                    shutdown.sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// One consumer on the broker, until it ends or has taken `most` deliveries. Returns how many
    /// it took.
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
            gates: self.gates.clone(),
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
                // The broker will redeliver whatever is not settled by now.
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
    tools: WorkerContext,
    gates: Gates,
    settlement: Arc<dyn Settlement>,
    shutdown: Shutdown,
    /// The consumer has ended: unsettled messages will be redelivered, so going on is of no use.
    ended: CancellationToken,
    /// The worker's time is up: nothing goes on.
    hand_back: CancellationToken,
    jobs: TaskTracker,
    external: Arc<Semaphore>,
    /// Whether the database is known to be away.
    holding: Arc<AtomicBool>,
}
