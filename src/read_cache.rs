//! Cached reads that are never stale: a read that begins after a write was answered sees it, on
//! every instance.
//!
//! Ordinarily a generation does it. Each scope (the lists; each task) has one in the cache, part of
//! each of its entries and read before the database is. A write sets new ones after its commit
//! and before its answer, so what a slow reader comes with is marked as old and never found.
//!
//! When the cache can't be reached from here it may still be from elsewhere, and it may come back
//! with all it had. So a write that could not set its generations turns to the database: it begins a
//! new epoch, which is part of every key, and bars everybody from the cache for a while. Readers
//! use the cache only while what they know of that row is fresh, and the write is answered only when
//! nobody's knowledge can be older. That is what an outage of the cache costs: the first write waits
//! a quarter of a second, the others find everybody barred already.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::OnceCell;

use crate::batcher::Batcher;
use crate::cache::{Breaker, Cache, CacheError, Circuit, Entry, Scope, Slot};
use crate::shutdown::Backoff;
use crate::store::{Store, StoreError, cache_guard};
use crate::telemetry::Metrics;

/// For how long a reader trusts what it knows of the guard.
const FRESH: Duration = Duration::from_millis(250);
/// For how long everybody is barred after a failure; it is renewed while the failure lasts.
const SUSPENSION: Duration = Duration::from_secs(5);
/// A suspension with less left than this is renewed, not relied on.
const MARGIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone)]
pub struct ReadCache {
    shared: Option<Shared>,
}

#[derive(Clone)]
struct Shared {
    inner: Arc<Inner>,
    /// Reads that begin at the same time look together, and those for the same key once: whatever a look
    /// finds that began after a read did is right for it.
    looks: Batcher<Place, Option<Entry>>,
    /// Writes that end at the same time begin new generations together: one round trip for all.
    invalidations: Batcher<Vec<Scope>, ()>,
}

/// How many reads, or writes, share a round trip.
const AT_ONCE: usize = 64;

/// How many looks are under way at a time: while one is with the cache, the next is put together.
const LOOKS: usize = 2;

/// Where a body is looked for.
type Place = (Scope, String);

struct Inner {
    cache: Arc<dyn Cache>,
    store: Store,
    metrics: Metrics,
    ttl: Duration,
    guard: tokio::sync::Mutex<Knowledge>,
    breaker: Breaker,
    flights: Flights,
}

/// The loads that are under way in this process.
type Flights = Arc<Mutex<HashMap<String, Arc<OnceCell<Bytes>>>>>;

/// One load for all who miss the same key at the same time. The first to leave clears it away, also
/// where its client has hung up; whoever comes then begins another.
struct Flight<'a> {
    inner: &'a Inner,
    key: &'a str,
    cell: Arc<OnceCell<Bytes>>,
}

impl<'a> Flight<'a> {
    fn join(inner: &'a Inner, key: &'a str) -> Flight<'a> {
        let cell = Arc::clone(inner.flights().entry(key.to_owned()).or_default());
        Flight { inner, key, cell }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.inner.flights().remove(self.key);
    }
}

/// The guard as this process knows it, or when it could not be asked.
#[derive(Default)]
struct Knowledge {
    known: Option<Known>,
    failed_at: Option<Instant>,
}

/// What this process knows of the guard.
#[derive(Debug, Clone, Copy)]
struct Known {
    epoch: i64,
    /// When it was asked for: what came after is not known.
    as_of: Instant,
    suspended_until: Option<Instant>,
    /// Since when it has been known to be suspended without a break.
    suspended_since: Option<Instant>,
}

impl Known {
    fn usable_epoch(&self, now: Instant) -> Option<i64> {
        let suspended = self.suspended_until.is_some_and(|until| now < until);
        (!suspended).then_some(self.epoch)
    }

    fn fresh(&self, now: Instant) -> bool {
        now.duration_since(self.as_of) < FRESH
            || self.suspended_until.is_some_and(|until| now < until)
    }
}

impl Shared {
    fn start(inner: Arc<Inner>) -> Shared {
        let looking = Arc::clone(&inner);
        let looks = Batcher::start_several(LOOKS, AT_ONCE, move |wanted: Vec<Place>| {
            let inner = Arc::clone(&looking);
            async move {
                let found = inner.look(wanted.iter().collect()).await;
                wanted.iter().map(|place| found.get(place).cloned()).collect()
            }
        });
        let invalidating = Arc::clone(&inner);
        let invalidations = Batcher::start(AT_ONCE, move |writes: Vec<Vec<Scope>>| {
            let inner = Arc::clone(&invalidating);
            async move {
                let answers = vec![(); writes.len()];
                let scopes: HashSet<Scope> = writes.into_iter().flatten().collect();
                inner.invalidate(scopes.into_iter().collect()).await;
                answers
            }
        });
        Shared { inner, looks, invalidations }
    }
}

impl ReadCache {
    /// Without a cache, every read goes to the database.
    pub fn new(
        cache: Option<Arc<dyn Cache>>,
        store: Store,
        metrics: Metrics,
        ttl: Duration,
    ) -> ReadCache {
        let inner = cache.map(|cache| Inner::new(cache, store, metrics, ttl, Flights::default()));
        ReadCache { shared: inner.map(Shared::start) }
    }

    /// The same for another thread that has a runtime of its own: as if it were another instance, so that
    /// no read waits for a thread to wake another. Only what is loaded is loaded once for all. To be
    /// called there.
    pub fn apart(&self) -> ReadCache {
        let inner = self.shared.as_ref().map(|Shared { inner, .. }| {
            let (cache, metrics) = (inner.cache.apart(), inner.metrics.clone());
            Inner::new(cache, inner.store.clone(), metrics, inner.ttl, Arc::clone(&inner.flights))
        });
        ReadCache { shared: inner.map(Shared::start) }
    }

    /// The cached body for `key` in `scope`, or what `load` reads. Those who miss the same key at
    /// the same time share one load.
    ///
    /// # Errors
    /// Those of `load`. The cache's own are never the caller's.
    pub async fn get<E, F, Fut>(&self, scope: Scope, key: &str, load: F) -> Result<Bytes, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        let Some(Shared { inner, looks, .. }) = &self.shared else {
            return load().await.map(Bytes::from);
        };
        let count = |outcome: &str| inner.metrics.cache_reads.with_label_values(&[outcome]).inc();
        let slot = match looks.call((scope, key.to_owned())).await.flatten() {
            Some(Entry::Hit(body)) => {
                count("hit");
                return Ok(body);
            }
            Some(Entry::Miss(slot)) => slot,
            None => {
                count("bypass");
                return load().await.map(Bytes::from);
            }
        };
        count("miss");
        // The generation is part of the slot: who comes after a write never joins a flight from before.
        let flight_key = format!("{} {}", slot.generation, slot.key);
        let flight = Flight::join(inner, &flight_key);
        let loading = flight.cell.get_or_try_init(|| async {
            let body = Bytes::from(load().await?);
            inner.fill(&slot, &body).await;
            Ok(body)
        });
        loading.await.cloned()
    }

    /// Makes what is cached of these scopes unreachable, for everybody. To be called after the
    /// commit and before the answer; it does not fail, it takes longer.
    pub async fn invalidate(&self, scopes: Vec<Scope>) {
        let Some(Shared { inner, invalidations, .. }) = &self.shared else { return };
        if invalidations.call(scopes.clone()).await.is_none() {
            inner.invalidate(scopes).await;
        }
    }

    /// Asks the cache for a sign of life; `None` if there is no cache.
    pub async fn ping(&self) -> Option<Result<(), CacheError>> {
        Some(self.shared.as_ref()?.inner.cache.ping().await)
    }
}

impl Inner {
    fn new(
        cache: Arc<dyn Cache>,
        store: Store,
        metrics: Metrics,
        ttl: Duration,
        flights: Flights,
    ) -> Arc<Inner> {
        let (guard, breaker) = Default::default();
        Arc::new(Inner { cache, store, metrics, ttl, guard, breaker, flights })
    }

    /// Looks in all these places at once. Of those where the cache can't be used nothing is found.
    async fn look(&self, places: HashSet<&Place>) -> HashMap<Place, Entry> {
        if self.broken() {
            return HashMap::new();
        }
        let known = self.known().await;
        let Some(epoch) = known.and_then(|known| known.usable_epoch(Instant::now())) else {
            return HashMap::new();
        };
        let looks = places.into_iter().map(async |place| {
            let (scope, key) = place;
            let found = self.cache.look(epoch, *scope, key).await;
            let found = found.map_err(|error| self.failed(&error)).ok()?;
            Some((place.clone(), found))
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn fill(&self, slot: &Slot, body: &[u8]) {
        if let Err(error) = self.cache.fill(slot, body, self.ttl).await {
            self.failed(&error);
        }
    }

    async fn invalidate(&self, scopes: Vec<Scope>) {
        if !self.broken() {
            // What the epoch is must be fresh here as well: readers may be in a newer one.
            if let Some(epoch) = self.known().await.and_then(|k| k.usable_epoch(Instant::now())) {
                match self.cache.invalidate(epoch, &scopes).await {
                    Ok(()) => return,
                    Err(error) => self.failed(&error),
                }
            }
        }
        // Neither the cache nor, just after a commit, the database: whoever can reach both would still find
        // what was cached before, so the write has no answer until one of them can be reached. Its
        // client is told by the deadline of its request that it may have happened.
        let mut backoff = Backoff::default();
        while let Err(error) = self.suspend().await {
            tracing::error!(%error, "the cache could not be invalidated; trying on");
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Bars everybody from the cache, and returns when everybody knows.
    async fn suspend(&self) -> Result<(), StoreError> {
        let known_since = {
            let mut knowledge = self.guard.lock().await;
            let now = Instant::now();
            match knowledge.known {
                Some(Known {
                    suspended_until: Some(until), suspended_since: Some(since), ..
                }) if until > now + MARGIN => since,
                _ => {
                    let guard =
                        cache_guard::suspend(&mut *self.store.connection().await?, SUSPENSION)
                            .await?;
                    let since = Instant::now();
                    knowledge.known =
                        Some(Known { suspended_since: Some(since), ..understood(guard, now) });
                    since
                }
            }
        };
        tokio::time::sleep_until((known_since + FRESH).into()).await;
        Ok(())
    }

    /// What is known of the guard, asked for again if it is not fresh; `None` if it can't be.
    async fn known(&self) -> Option<Known> {
        let mut knowledge = self.guard.lock().await;
        let now = Instant::now();
        if let Some(known) = knowledge.known.filter(|k| k.fresh(now)) {
            return Some(known);
        }
        // Those who waited for a question that failed don't ask the same again, one by one.
        if knowledge.failed_at.is_some_and(|at| now.duration_since(at) < FRESH) {
            return None;
        }
        let guard = match self.store.connection().await {
            Ok(mut connection) => cache_guard::read(&mut connection).await,
            Err(error) => Err(error),
        };
        knowledge.failed_at = guard.is_err().then(Instant::now);
        knowledge.known = guard.ok().map(|guard| understood(guard, now));
        knowledge.known
    }

    fn failed(&self, error: &CacheError) {
        if self.breaker.failed() {
            tracing::warn!(%error, "the cache fails; reads go to the database");
        }
    }

    /// Whether the cache has failed just now.
    fn broken(&self) -> bool {
        let circuit = self.breaker.circuit();
        if circuit == Circuit::TriedAgain {
            tracing::info!("trying the cache again");
        }
        circuit == Circuit::Broken
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OnceCell<Bytes>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `asked` is from before the question: no younger than the answer.
fn understood(guard: cache_guard::Guard, asked: Instant) -> Known {
    let suspended = u64::try_from(guard.suspended_ms).unwrap_or_default();
    let now = Instant::now();
    Known {
        epoch: guard.epoch,
        as_of: asked,
        suspended_until: (suspended > 0).then(|| now + Duration::from_millis(suspended)),
        suspended_since: (suspended > 0).then_some(now),
    }
}
