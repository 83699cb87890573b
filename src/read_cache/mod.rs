//! Cached reads that are never stale: a read that begins after a write was answered sees that
//! write, on every instance.
//!
//! Normally generations and bars guarantee this. Each scope (all lists together; each task) has a
//! generation in the cache. A reader reads the generation before it reads the database, and its
//! entry is filled under that generation. A write sets new generations before its answer, so what a
//! slow reader fills in late carries an old generation and is never found.
//!
//! A write whose scopes are known before its statement sets them while the statement runs, together
//! with a bar (`writes`): as long as the bar is there, readers fill nothing, because what they read
//! may be from before the commit. A write whose scopes its statement tells sets new generations
//! after the commit.
//!
//! When this process can't reach the cache, others may still reach it, and it may come back with
//! all its old entries. So a write that could not set its generations turns to the database. It
//! begins a new epoch, which is part of every key, and suspends the cache for all processes for a
//! while. Readers use the cache only while their copy of that row is fresh, and the write is
//! answered only when no process can have an older copy. So an outage of the cache costs this: the
//! first write waits a quarter of a second, and the others find the cache suspended already.

mod barred;
mod flights;
mod guard;
mod hit_rate;
mod shared;
mod writes;
#[cfg(test)]
mod simulation;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use self::barred::Barred;
use self::flights::Flights;
use self::guard::Guard;
use self::hit_rate::HitRate;
pub use self::shared::SharedCache;
use self::writes::SharedBar;
use crate::cache::{Breaker, Cache, CacheError, Circuit, Entry, EntryKey, Scope, Slot};
use crate::ground::batcher::Batcher;
use crate::ground::shutdown::Backoff;
use crate::ground::telemetry::Metrics;
use crate::store::Store;

/// Reads through the cache. See the module.
#[derive(Clone)]
pub struct ReadCache {
    handles: Option<Handles>,
}

#[derive(Clone)]
struct Handles {
    inner: Arc<Inner>,
    /// Lookups of reads that begin at the same time share one round trip, and a key that several
    /// ask for is looked up once. A lookup that starts after a read began finds nothing too old for
    /// that read.
    looks: Batcher<EntryKey, Option<Entry>>,
    /// Writes that end at the same time set their new generations in one round trip.
    invalidations: Batcher<Vec<Scope>, ()>,
    /// Writes that begin while a bar is asked for share the next one.
    bars: Batcher<Vec<Scope>, Option<Arc<SharedBar>>>,
    /// The bar that was set last. While writes are under way under it, others join them.
    latest_bar: Arc<Mutex<Option<Arc<SharedBar>>>>,
    /// Reads that may fill nothing share loads all the same.
    barred: Arc<Barred>,
    /// Bars of writes that have ended.
    lifts: Batcher<Arc<SharedBar>, ()>,
}

/// How many lookups, or invalidations, share a round trip at most.
const AT_ONCE: usize = 64;

struct Inner {
    cache: Arc<dyn Cache>,
    metrics: Metrics,
    ttl: Duration,
    guard: Guard,
    breaker: Breaker,
    flights: Flights,
    lists: HitRate,
    tasks: HitRate,
}

impl Handles {
    fn start(inner: Arc<Inner>) -> Handles {
        let looking = Arc::clone(&inner);
        let looks = Batcher::start_gathering(AT_ONCE, move |wanted: Vec<EntryKey>| {
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
        let (bars, lifts) = (writes::bars(&inner), writes::lifts(&inner));
        let (latest_bar, barred) = Default::default();
        Handles { inner, looks, invalidations, bars, latest_bar, barred, lifts }
    }
}

impl ReadCache {
    /// The cached body for `key` in `scope`, or what `load` reads. Readers that miss the same key
    /// at the same time share one load.
    ///
    /// # Errors
    /// Those of `load`. A failure of the cache is never the caller's: the read goes to the
    /// database.
    pub async fn get<E, F, Fut>(&self, scope: Scope, key: String, load: F) -> Result<Bytes, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        // Boxed: the future of a load is large, and the future of `get` is moved about on every
        // read, also on a hit.
        let load = || Box::pin(load());
        let Some(Handles { inner, looks, barred, .. }) = &self.handles else {
            return load().await.map(Bytes::from);
        };
        let hit_rate = inner.hit_rate(scope);
        let found = match hit_rate.allows_lookup() {
            true => looks.call(EntryKey { scope, key: key.clone() }).await.flatten(),
            false => None,
        };
        if let Some(entry) = &found {
            hit_rate.record(matches!(entry, Entry::Hit(_)));
        }
        let slot = match found {
            Some(Entry::Hit(body)) => {
                inner.count("hit");
                return Ok(body);
            }
            Some(Entry::Miss(Some(slot))) => slot,
            // What this read loads may be from before a write that is under way.
            Some(Entry::Miss(None)) => {
                inner.count("miss");
                return barred.load(&format!("{scope} {key}"), load).await;
            }
            None => {
                inner.count("bypass");
                return load().await.map(Bytes::from);
            }
        };
        inner.count("miss");
        // The slot has the generation in it, so a reader that comes after a write never joins a
        // load from before it.
        let flight_key = format!("{} {}", slot.generation, slot.key);
        let flight = inner.flights.join(&flight_key);
        let loading = flight.cell.get_or_try_init(|| async {
            let body = Bytes::from(load().await?);
            inner.fill(&slot, &body).await;
            Ok(body)
        });
        loading.await.cloned()
    }

    /// Makes all cached entries of these scopes unreachable for every process. Call it after the
    /// commit and before the answer, of a write whose scopes are not known earlier. It does not
    /// fail; when the cache is down it takes longer.
    pub async fn invalidate(&self, scopes: Vec<Scope>) {
        let Some(Handles { inner, invalidations, .. }) = &self.handles else { return };
        if invalidations.call(scopes.clone()).await.is_none() {
            inner.invalidate(scopes).await;
        }
    }

    /// Pings the cache; `None` if there is no cache.
    pub async fn ping(&self) -> Option<Result<(), CacheError>> {
        Some(self.handles.as_ref()?.inner.cache.ping().await)
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
        let guard = Guard::new(store);
        let (breaker, lists, tasks) = Default::default();
        Arc::new(Inner { cache, metrics, ttl, guard, breaker, flights, lists, tasks })
    }

    fn hit_rate(&self, scope: Scope) -> &HitRate {
        match scope {
            Scope::TaskLists => &self.lists,
            Scope::Task(_) => &self.tasks,
        }
    }

    fn count(&self, outcome: &str) {
        self.metrics.cache_reads.with_label_values(&[outcome]).inc();
    }

    /// Looks each distinct place up once and returns one result for each of `wanted`, in order.
    async fn look_for_all(&self, wanted: &[EntryKey]) -> Vec<Option<Entry>> {
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

    /// Looks these places up in one round trip; `None` if the cache can't be used.
    async fn look(&self, places: &[&EntryKey]) -> Option<Vec<Entry>> {
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
            // The epoch has to be fresh here as well: readers may already be in a newer one.
            if let Some(keyspace) = self.guard.usable().await {
                match self.cache.invalidate(&keyspace, &scopes).await {
                    Ok(()) => return,
                    Err(error) => self.failed(&error),
                }
            }
        }
        // Neither the cache nor, just after a commit, the database can be reached. A process that
        // reaches both would still find the old entries, so the write gets no answer until one of
        // them is back. Its client meets the deadline of its request, and is told there that the
        // write may have happened.
        let mut backoff = Backoff::default();
        while let Err(error) = self.guard.suspend().await {
            tracing::error!(%error, "the cache could not be invalidated; retrying");
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    fn failed(&self, error: &CacheError) {
        if self.breaker.failed() {
            tracing::warn!(%error, "the cache fails; reads go to the database");
        }
    }

    /// Whether the cache failed within the last second.
    fn broken(&self) -> bool {
        let circuit = self.breaker.circuit();
        if circuit == Circuit::TriedAgain {
            tracing::info!("trying the cache again");
        }
        circuit == Circuit::Broken
    }
}
