//! Limits of effects, over all workers: so many runs in a period, so many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::domain::processing::gate::BreakerLimit;
use crate::domain::rate::Rate;
use crate::effects::{Started, Work};
use crate::ground::batcher::Batcher;
use crate::store::gates::{places, turns};
use crate::store::{Store, StoreError};

/// The settings of gates; by default there are no limits.
#[derive(Debug, Clone, Default)]
pub struct EffectLimits {
    /// After how many failures in a row a breaker opens.
    pub breaker: BreakerLimit,
    /// How many runs of an effect there may be in a period.
    pub rates: BTreeMap<String, Rate>,
    /// How many runs of an effect there may be at a time.
    pub concurrency: BTreeMap<String, u16>,
}

impl EffectLimits {
    /// Checks that what is limited runs outside the database.
    ///
    /// # Errors
    /// The variable at fault, and what is wrong.
    pub fn check(&self, effects: &[Started]) -> Result<(), (&'static str, String)> {
        let in_database = |name: &String| {
            let is_it = |one: &&Started| one.effect.name() == name;
            effects.iter().find(is_it).is_some_and(|one| matches!(one.work, Work::Database(_)))
        };
        let problem = |name: &String| {
            format!("{name} runs in the database, many events at a time, and can't be limited")
        };
        if let Some(name) = self.rates.keys().find(|name| in_database(name)) {
            return Err(("EFFECT_RATE", problem(name)));
        }
        match self.concurrency.keys().find(|name| in_database(name)) {
            Some(name) => Err(("EFFECT_CONCURRENCY", problem(name))),
            None => Ok(()),
        }
    }
}

/// How long a place is leased: longer than a run may take (`effects::LONGEST_TIME_LIMIT`), with the
/// claim before it.
const PLACE_LEASE: Duration = Duration::from_secs(40);
/// How much of that may pass until the run begins.
const PLACE_FRESH: Duration = Duration::from_secs(15);
/// How long a delivery waits in hand for a place. Other workers may have them all for hours.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often it asks meanwhile whether another worker has given one back.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How many turns are taken in one statement.
const BATCH: u32 = 128;

/// How much further apart turns are than the period: a run begins a moment after its turn.
const SPACING: Duration = Duration::from_millis(50);

type Turns = Batcher<(), Result<Option<Duration>, StoreError>>;

/// The limits of a worker's effects.
#[derive(Clone)]
pub(super) struct Limits {
    store: Store,
    breaker: BreakerLimit,
    rates: Arc<BTreeMap<String, LimitedRate>>,
    /// As many permits as there are places. The callers of one process queue here, so that only
    /// those who can have a place ask the database for it.
    places: Arc<BTreeMap<String, (u16, Arc<Semaphore>)>>,
}

/// A rate, with the turns to come back and those to begin.
struct LimitedRate {
    rate: Rate,
    turns: Turns,
    starts: Turns,
}

/// A place of an effect, given back when this is dropped.
pub struct Place(Option<PlaceLease>);

struct PlaceLease {
    store: Store,
    effect: &'static str,
    place: i32,
    lease: Uuid,
    since: Instant,
    /// Its caller's turn to ask, for the next once the place is free.
    permit: Option<OwnedSemaphorePermit>,
}

impl Limits {
    pub(super) fn new(store: Store, limits: EffectLimits) -> Limits {
        let rates = limits.rates.into_iter().map(|(effect, rate)| {
            let ring = |name: String| take_turns(store.clone(), effect.clone(), rate, name);
            let turns = ring(rate.to_string());
            let starts = ring(format!("{rate} starts"));
            (effect.clone(), LimitedRate { rate, turns, starts })
        });
        let places = limits
            .concurrency
            .into_iter()
            .map(|(effect, limit)| (effect, (limit, Arc::new(Semaphore::new(usize::from(limit))))));
        Limits {
            breaker: limits.breaker,
            rates: Arc::new(rates.collect()),
            places: Arc::new(places.collect()),
            store,
        }
    }

    pub(super) fn breaker(&self) -> BreakerLimit {
        self.breaker
    }

    /// Takes a turn: how long until then, and under which rate, if it isn't now.
    pub(super) async fn turn(&self, effect: &str) -> Result<Option<(Duration, Rate)>, StoreError> {
        self.take(effect, |limited| &limited.turns).await
    }

    /// Takes a start: how long until then, and under which rate, if it isn't now.
    pub(super) async fn start(&self, effect: &str) -> Result<Option<(Duration, Rate)>, StoreError> {
        self.take(effect, |limited| &limited.starts).await
    }

    async fn take(
        &self,
        effect: &str,
        of: impl FnOnce(&LimitedRate) -> &Turns,
    ) -> Result<Option<(Duration, Rate)>, StoreError> {
        let Some(limited) = self.rates.get(effect) else { return Ok(None) };
        let ended = || Err(StoreError::Fault("taking turns has failed".into()));
        let wait = of(limited).call(()).await.unwrap_or_else(ended)?;
        Ok(wait.map(|wait| (wait, limited.rate)))
    }

    /// Takes a place; the limit, if none comes free for a while.
    pub(super) async fn place(
        &self,
        effect: &'static str,
    ) -> Result<Result<Place, u16>, StoreError> {
        let Some((limit, permits)) = self.places.get(effect) else { return Ok(Ok(Place(None))) };
        let began = Instant::now();
        let permit = tokio::time::timeout(LONGEST_WAIT, Arc::clone(permits).acquire_owned());
        let Ok(Ok(permit)) = permit.await else { return Ok(Err(*limit)) };
        let lease = Uuid::now_v7();
        let mut made = false;
        loop {
            let mut connection = self.store.connection().await?;
            let since = Instant::now();
            let take = places::take(&mut connection, effect, *limit, (lease, PLACE_LEASE));
            if let Some(place) = take.await? {
                let store = self.store.clone();
                let held = PlaceLease { store, effect, place, lease, since, permit: Some(permit) };
                return Ok(Ok(Place(Some(held))));
            }
            if !made {
                places::make(&mut connection, effect, *limit).await?;
                made = true;
                continue;
            }
            drop(connection);
            if began.elapsed() > LONGEST_WAIT {
                return Ok(Err(*limit));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

impl Place {
    /// Whether a run may still begin: else it could outlast the lease.
    pub fn is_fresh(&self) -> bool {
        self.0.as_ref().is_none_or(|held| held.since.elapsed() < PLACE_FRESH)
    }
}

impl Drop for PlaceLease {
    fn drop(&mut self) {
        let (store, effect, place, lease) =
            (self.store.clone(), self.effect, self.place, self.lease);
        let permit = self.permit.take();
        let given_back = async move {
            let given = async {
                places::give_back(&mut *store.connection().await?, effect, place, lease).await
            };
            if let Err(error) = given.await {
                tracing::debug!(%error, effect, "the lease of a place ends by itself");
            }
            drop(permit);
        };
        // Outside a runtime the process ends, and so does the lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(given_back);
        }
    }
}

/// Takes turns of an effect, many in one statement.
fn take_turns(store: Store, effect: String, rate: Rate, ring: String) -> Turns {
    let most = BATCH.min(rate.count());
    Batcher::start(most as usize, move |callers: Vec<()>| {
        let (store, effect, ring) = (store.clone(), effect.clone(), ring.clone());
        async move {
            let ring = turns::Ring {
                effect: &effect,
                name: &ring,
                count: rate.count(),
                apart: rate.period() + SPACING,
            };
            let count = u32::try_from(callers.len()).unwrap_or(most);
            let taken = async { turns::take(&mut *store.connection().await?, &ring, count).await };
            match taken.await {
                Ok(turns) => {
                    turns.iter().map(|turn| Ok((turn.at - turn.now).to_std().ok())).collect()
                }
                Err(error) => vec![Err(error); callers.len()],
            }
        }
    })
}
