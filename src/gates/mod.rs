//! Gates: what keeps an effect from running for now. An operator has paused it, the other side is
//! down, its rate is used up, or too many run already.
//!
//! What a gate keeps is parked as a row, acked, and comes back when the gate is open
//! (`gates::keeper`). It can't be held in hand, since the broker takes back what nobody acks for
//! half an hour; and a delay queue would keep it for its whole time.
//!
//! Pauses and breakers are rows as well, which every worker reads twice a second. Each worker
//! counts failures by itself.

mod keeper;
mod limits;
mod orders;

pub use keeper::Keeper;
pub use limits::{EffectLimits, Place};
pub use orders::{EffectOrder, EffectView};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;

use crate::domain::processing::failure::{Class, Failure, Hold};
use crate::domain::processing::gate::{FailureRun, Gate, PROBE_PAUSES, Pass};
use crate::domain::rate::Rate;
use crate::domain::text::without_nul;
use crate::effects::Outcome;
use crate::store::gates::{self as store, EffectGate};
use crate::store::{Store, StoreError};
use limits::Limits;

/// How long a run that is claimed may wait for its start: the claim's lease goes on.
const LONGEST_START: Duration = Duration::from_secs(2);

/// The gates of a worker's effects.
#[derive(Clone)]
pub struct Gates {
    store: Store,
    worker: String,
    limits: Limits,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The gates as the database had them last.
    gates: HashMap<String, Gate>,
    /// How many runs of each effect have failed in a row in this process.
    runs: HashMap<&'static str, FailureRun>,
}

impl State {
    /// Whether the breaker of an effect is open.
    fn is_broken(&self, effect: &str) -> bool {
        self.gates.get(effect).is_some_and(|gate| gate.outage.is_some())
    }
}

/// An effect waits for its turn under this rate.
fn used_up(wait: Duration, rate: Rate) -> Failure {
    let hold = Hold { at_least: wait, has_turn: true };
    Failure::held(hold, format!("its rate of {rate} is used up"))
}

impl Gates {
    /// The gates of a worker with this name.
    pub fn new(store: Store, worker: &str, limits: EffectLimits) -> Gates {
        Gates {
            limits: Limits::new(store.clone(), limits),
            store,
            worker: worker.to_owned(),
            state: Arc::default(),
        }
    }

    /// What keeps the effect from running now, if anything does. `pass` is what its message
    /// carries.
    pub fn closed(&self, effect: &str, pass: Option<Pass>) -> Option<Failure> {
        let why = self.state().gates.get(effect)?.closed(effect, pass, Utc::now())?;
        Some(Failure::held(Hold::default(), why))
    }

    /// Takes a turn under the effect's rate: what keeps it from running now, if it has to wait for
    /// its turn.
    ///
    /// # Errors
    /// The database fails; then no turn was taken.
    pub async fn turn(
        &self,
        effect: &'static str,
        pass: Option<Pass>,
    ) -> Result<Option<Failure>, StoreError> {
        if pass == Some(Pass::Turn) {
            return Ok(None);
        }
        Ok(self.limits.turn(effect).await?.map(|(wait, rate)| used_up(wait, rate)))
    }

    /// Waits until a run of the effect may begin under its rate: what keeps it from running, if
    /// that is too long to wait for. Turns say when to come back; this says when to begin, since
    /// what comes back may be late.
    ///
    /// # Errors
    /// The database fails.
    pub async fn start(&self, effect: &'static str) -> Result<Option<Failure>, StoreError> {
        let Some((wait, rate)) = self.limits.start(effect).await? else { return Ok(None) };
        if wait <= LONGEST_START {
            tokio::time::sleep(wait).await;
            return Ok(None);
        }
        Ok(Some(used_up(wait, rate)))
    }

    /// Takes one of the places of an effect of which only so many may run at a time. Waits for one
    /// for a while; then the message has to wait elsewhere.
    ///
    /// # Errors
    /// The database fails.
    pub async fn place(&self, effect: &'static str) -> Result<Result<Place, Failure>, StoreError> {
        let place = self.limits.place(effect).await?;
        Ok(place.map_err(|limit| {
            let hold = Hold { at_least: Duration::from_secs(1), has_turn: false };
            Failure::held(hold, format!("{limit} are running, which is as many as may"))
        }))
    }

    /// Takes notice of how a run has ended. Opens the breaker after too many failures in a row, and
    /// closes it if this was the probe of an open one and the other side has answered. Returns the
    /// outcome; a probe that failed is no failed attempt.
    pub async fn ran(
        &self,
        effect: &'static str,
        pass: Option<Pass>,
        outcome: Result<Outcome, Failure>,
    ) -> Result<Outcome, Failure> {
        // A probe that comes after the breaker has closed is a run like any other.
        let is_probe = self.state().is_broken(effect) && pass == Some(Pass::Probe);
        let failure = match &outcome {
            Err(failure) if failure.class == Class::Transient => failure,
            // Nobody was asked.
            Ok(Outcome::Skipped(_)) => {
                self.probe_without_answer(effect, pass).await;
                return outcome;
            }
            _ => {
                self.state().runs.entry(effect).or_default().answered();
                if is_probe {
                    self.close(effect).await;
                }
                return outcome;
            }
        };
        let error = without_nul(&failure.message);
        if is_probe {
            self.note(async |gates: &Gates| {
                let connection = &mut gates.store.connection().await?;
                store::probe_ended(connection, effect, Some(&error), &PROBE_PAUSES).await
            })
            .await;
            return Err(Failure::held(Hold::default(), format!("the probe failed: {error}")));
        }
        let opens = {
            let limit = self.limits.breaker();
            self.state().runs.entry(effect).or_default().failed(limit)
        };
        if opens {
            self.open(effect, &error).await;
        }
        outcome
    }

    /// A probe has ended without asking the other side: the next may go at once.
    pub async fn probe_without_answer(&self, effect: &'static str, pass: Option<Pass>) {
        if pass == Some(Pass::Probe) {
            self.note(async |gates: &Gates| {
                let connection = &mut gates.store.connection().await?;
                store::probe_ended(connection, effect, None, &PROBE_PAUSES).await
            })
            .await;
        }
    }

    async fn open(&self, effect: &'static str, error: &str) {
        self.note(async |gates: &Gates| {
            let connection = &mut gates.store.connection().await?;
            let (worker, pause) = (&gates.worker, PROBE_PAUSES[0]);
            if store::open_breaker(connection, effect, worker, error, pause).await? {
                tracing::warn!(
                    effect,
                    worker,
                    error,
                    "the breaker is open: too many failures in a row"
                );
            }
            gates.set(store::look(connection, &[effect]).await?);
            Ok(())
        })
        .await;
    }

    async fn close(&self, effect: &'static str) {
        self.note(async |gates: &Gates| {
            let connection = &mut gates.store.connection().await?;
            if store::close_breaker(connection, effect).await? {
                tracing::info!(
                    effect,
                    worker = gates.worker,
                    "the breaker is closed: a probe went well"
                );
            }
            gates.set(store::look(connection, &[effect]).await?);
            Ok(())
        })
        .await;
    }

    /// Writes what is known of a breaker. If the database fails, the next run says the same.
    async fn note(&self, write: impl AsyncFnOnce(&Gates) -> Result<(), StoreError>) {
        if let Err(error) = write(self).await {
            tracing::debug!(%error, "the state of a breaker was not written");
        }
    }

    /// Takes over the gates as the database has them.
    fn set(&self, found: Vec<EffectGate>) {
        let mut state = self.state();
        for found in found {
            if state.is_broken(&found.effect) && found.gate.outage.is_none() {
                // Somebody has closed the breaker: the failures that opened it count no more.
                state.runs.retain(|effect, _| *effect != found.effect);
            }
            state.gates.insert(found.effect, found.gate);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
