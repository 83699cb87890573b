//! Cached reads that are never stale: a read that begins after a write was answered sees it, on
//! every instance.
//!
//! Ordinarily a generation does it. Each scope (the lists; each task) has one in the cache, part of
//! each of its entries and read before the database is. A write sets new ones after its commit
//! and before its answer, so what a slow reader comes with is marked as old and never found. Where there are
//! so many writes that nothing would be found for long, a cache may do with less and take nothing in meanwhile.
//!
//! When the cache can't be reached from here it may still be from elsewhere, and it may come back
//! with all it had. So a write that could not set its generations turns to the database: it begins a
//! new epoch, which is part of every key, and bars everybody from the cache for a while. Readers
//! use the cache only while what they know of that row is fresh, and the write is answered only when
//! nobody's knowledge can be older. That is what an outage of the cache costs: the first write waits
//! a quarter of a second, the others find everybody barred already.

mod flights;
mod guard;
mod worth;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::flights::Flights;
use self::guard::Guard;
use self::worth::Worth;
use crate::cache::{Breaker, Cache, CacheError, Circuit, Entry, Place, Scope, Slot};
use crate::ground::batcher::Batcher;
use crate::ground::shutdown::Backoff;
use crate::ground::telemetry::Metrics;
use crate::store::Store;

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

struct Inner {
    cache: Arc<dyn Cache>,
    store: Store,
    metrics: Metrics,
    ttl: Duration,
    guard: Guard,
    breaker: Breaker,
    flights: Flights,
    lists: Worth,
    tasks: Worth,
}

impl Shared {
    fn start(inner: Arc<Inner>) -> Shared {
        let looking = Arc::clone(&inner);
        let looks = Batcher::start_gathering(AT_ONCE, move |wanted: Vec<Place>| {
            let inner = Arc::clone(&looking);
            async move { inner.look_for_all(&wanted).await }
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
            Inner::new(cache, inner.store.clone(), metrics, inner.ttl, inner.flights.clone())
        });
        ReadCache { shared: inner.map(Shared::start) }
    }

    /// The cached body for `key` in `scope`, or what `load` reads. Those who miss the same key at
    /// the same time share one load.
    ///
    /// # Errors
    /// Those of `load`. The cache's own are never the caller's.
    pub async fn get<E, F, Fut>(&self, scope: Scope, key: String, load: F) -> Result<Bytes, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        // In a box of its own: what loads is large, and what is moved about with each read, also where nothing
        // is loaded, should not be.
        let load = || Box::pin(load());
        let Some(Shared { inner, looks, .. }) = &self.shared else {
            return load().await.map(Bytes::from);
        };
        let worth = inner.worth(scope);
        let found = match worth.look() {
            true => looks.call(Place { scope, key }).await.flatten(),
            false => None,
        };
        if let Some(entry) = &found {
            worth.looked(matches!(entry, Entry::Hit(_)));
        }
        let slot = match found {
            Some(Entry::Hit(body)) => {
                inner.count("hit");
                return Ok(body);
            }
            Some(Entry::Miss(slot)) => slot,
            // A write that this read has to see may not have ended the generation: neither is what it loads
            // to be kept, nor what another has begun to load before to be waited for.
            Some(Entry::Unsettled) => {
                inner.count("miss");
                return load().await.map(Bytes::from);
            }
            None => {
                inner.count("bypass");
                return load().await.map(Bytes::from);
            }
        };
        inner.count("miss");
        // The generation is part of the slot: who comes after a write never joins a flight from before.
        let flight_key = format!("{} {}", slot.generation, slot.key);
        let flight = inner.flights.join(&flight_key);
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
        let guard = Guard::new(store.clone());
        let (breaker, lists, tasks) = Default::default();
        Arc::new(Inner { cache, store, metrics, ttl, guard, breaker, flights, lists, tasks })
    }

    fn worth(&self, scope: Scope) -> &Worth {
        match scope {
            Scope::TaskLists => &self.lists,
            Scope::Task(_) => &self.tasks,
        }
    }

    fn count(&self, outcome: &str) {
        self.metrics.cache_reads.with_label_values(&[outcome]).inc();
    }

    /// Looks in all these places, in each once, for each of them.
    async fn look_for_all(&self, wanted: &[Place]) -> Vec<Option<Entry>> {
        let mut places = Vec::new();
        let mut numbers = HashMap::with_capacity(wanted.len());
        let at: Vec<usize> = wanted
            .iter()
            .map(|place| {
                *numbers.entry(place).or_insert_with(|| {
                    places.push(place);
                    places.len() - 1
                })
            })
            .collect();
        match self.look(&places).await {
            Some(found) => at.into_iter().map(|number| found.get(number).cloned()).collect(),
            None => vec![None; wanted.len()],
        }
    }

    /// Looks in all these places at once; `None` where the cache can't be used.
    async fn look(&self, places: &[&Place]) -> Option<Vec<Entry>> {
        if self.broken() {
            return None;
        }
        let keyspace = self.guard.usable().await?;
        self.cache.look(&keyspace, places).await.map_err(|error| self.failed(&error)).ok()
    }

    async fn fill(&self, slot: &Slot, body: &[u8]) {
        if let Err(error) = self.cache.fill(slot, body, self.ttl).await {
            self.failed(&error);
        }
    }

    async fn invalidate(&self, scopes: Vec<Scope>) {
        if !self.broken() {
            // What the epoch is must be fresh here as well: readers may be in a newer one.
            if let Some(keyspace) = self.guard.usable().await {
                match self.cache.invalidate(&keyspace, &scopes).await {
                    Ok(()) => return,
                    Err(error) => self.failed(&error),
                }
            }
        }
        // Neither the cache nor, just after a commit, the database: whoever can reach both would still find
        // what was cached before, so the write has no answer until one of them can be reached. Its
        // client is told by the deadline of its request that it may have happened.
        let mut backoff = Backoff::default();
        while let Err(error) = self.guard.suspend().await {
            tracing::error!(%error, "the cache could not be invalidated; trying on");
            tokio::time::sleep(backoff.pause()).await;
        }
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
}
