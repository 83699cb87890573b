//! Keeps the gates: reads them, lets probes through, and brings back what was parked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntGaugeVec;
use uuid::Uuid;

use super::Gates;
use crate::authenticity::Authenticity;
use crate::broker::{Broker, BrokerError, Destination, Outgoing, kept};
use crate::domain::processing::gate::{PROBE_PAUSES, Pass};
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::ground::telemetry::Metrics;
use crate::store::gates::{self as store, EffectGate, parked};
use crate::store::{Store, StoreError};

/// How often gates are read. An order is in force everywhere within this time, and what was parked
/// comes back within it.
const TURN: Duration = Duration::from_millis(400);
/// How long a message that comes back is leased: until it is published and deleted.
const LEASE: Duration = Duration::from_secs(30);
/// How long a probe may take before another goes.
const PROBE: Duration = Duration::from_secs(45);
/// How often parked messages are counted, for the metrics.
const COUNTED_EVERY: Duration = Duration::from_secs(10);
/// How many messages come back together.
const BATCH: i64 = 500;

/// Keeps the gates of a worker's effects.
pub struct Keeper {
    gates: Gates,
    effects: Vec<&'static str>,
    broker: Arc<dyn Broker>,
    store: Store,
    authenticity: Authenticity,
    metrics: Metrics,
}

/// What keeps parked messages from coming back.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keeper {
    /// A keeper of the gates of these effects.
    pub fn new(
        gates: Gates,
        effects: Vec<&'static str>,
        broker: Arc<dyn Broker>,
        metrics: Metrics,
    ) -> Keeper {
        let store = gates.store.clone();
        let authenticity = Authenticity::new(store.clone());
        Keeper { gates, effects, broker, store, authenticity, metrics }
    }

    /// Reads the gates once, so that nothing runs before they are known.
    ///
    /// # Errors
    /// The database fails.
    pub async fn read(&self) -> Result<(), StoreError> {
        let found = store::look(&mut *self.store.connection().await?, &self.effects).await?;
        self.gates.set(found);
        Ok(())
    }

    /// Keeps the gates until told to stop. What was leased then comes back when its lease ends.
    pub async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        let mut failing = false;
        let mut counted: Option<Instant> = None;
        let mut more = false;
        // While much comes back, the gates are read before each batch.
        while !shutdown.stopped() && (more || shutdown.sleep(TURN).await) {
            let counts = counted.is_none_or(|at| at.elapsed() > COUNTED_EVERY);
            match self.turn(counts).await {
                Ok(left) => {
                    more = left;
                    backoff.reset();
                    failing = false;
                    counted = if counts { Some(Instant::now()) } else { counted };
                }
                Err(error) => {
                    more = false;
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "gates can't be kept; retrying");
                    }
                    shutdown.sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Reads the gates, and does what they allow. Returns whether more may come back at once. With
    /// `counts`, also counts what is parked.
    async fn turn(&self, counts: bool) -> Result<bool, KeepError> {
        let found = store::look(&mut *self.store.connection().await?, &self.effects).await?;
        self.gates.set(found.clone());
        for EffectGate { effect, gate, .. } in &found {
            let set = |gauge: &IntGaugeVec, on: bool| {
                gauge.with_label_values(&[effect.as_str()]).set(on.into());
            };
            set(&self.metrics.effect_breaker_open, gate.outage.is_some());
            set(&self.metrics.effect_paused, gate.pause.is_some());
        }
        let mut more = false;
        for EffectGate { effect, gate, probe_is_due, any_due } in found {
            if !any_due || gate.pause.is_some() {
                continue;
            }
            if gate.outage.is_none() {
                more |= self.bring_back(&effect, None, BATCH).await? == BATCH;
            } else if probe_is_due {
                self.probe(&effect).await?;
            }
        }
        if counts && let Err(error) = self.count().await {
            tracing::debug!(%error, "parked messages were not counted");
        }
        Ok(more)
    }

    /// Counts what is parked, for the metrics.
    async fn count(&self) -> Result<(), StoreError> {
        let connection = &mut self.store.connection().await?;
        for (effect, count) in parked::counts(connection, &self.effects, parked::COUNTED).await? {
            self.metrics.events_parked.with_label_values(&[effect.as_str()]).set(count);
        }
        Ok(())
    }

    /// Lets one message through an open breaker, unless another worker has just done so.
    async fn probe(&self, effect: &str) -> Result<(), KeepError> {
        let mine = store::take_probe(&mut *self.store.connection().await?, effect, PROBE).await?;
        if mine && self.bring_back(effect, Some(Pass::Probe), 1).await? == 0 {
            let connection = &mut self.store.connection().await?;
            store::probe_ended(connection, effect, None, &PROBE_PAUSES).await?;
        }
        Ok(())
    }

    /// Publishes messages that wait for this effect, and deletes those that were confirmed. Returns
    /// how many were published.
    async fn bring_back(
        &self,
        effect: &str,
        pass: Option<Pass>,
        most: i64,
    ) -> Result<i64, KeepError> {
        let lease = Uuid::now_v7();
        let rows = {
            let connection = &mut self.store.connection().await?;
            parked::lease(connection, effect, (lease, LEASE), &self.gates.worker, most).await?
        };
        if rows.is_empty() {
            return Ok(0);
        }
        let authority = self.authenticity.authority().await?;
        let messages = rows.iter().map(|row| {
            let mut message = kept::restore(&row.message, row.body.clone());
            match pass {
                Some(pass) => message.set_pass(pass, effect),
                None if row.has_turn => message.set_pass(Pass::Turn, effect),
                None => {}
            }
            // It was believed when it was parked.
            authority.sign(&mut message);
            Outgoing { to: Destination::Main, message }
        });
        let answers = self.broker.publish(messages.collect()).await;
        let confirmed: Vec<i64> = rows
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(row, _)| row.id)
            .collect();
        let published = confirmed.len() as i64;
        parked::delete(&mut *self.store.connection().await?, confirmed, lease).await?;
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(error.into()),
            None => Ok(published),
        }
    }
}
