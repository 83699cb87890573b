//! What the threads of a process share of the read cache.

use std::sync::Arc;
use std::time::Duration;

use super::flights::Flights;
use super::{Handles, Inner, ReadCache};
use crate::cache::Cache;
use crate::ground::telemetry::Metrics;
use crate::store::Store;

/// The read cache of a process. It can't be read from: each thread makes a [`ReadCache`] of it.
#[derive(Clone)]
pub struct SharedCache {
    cache: Option<Arc<dyn Cache>>,
    store: Store,
    metrics: Metrics,
    ttl: Duration,
    flights: Flights,
}

impl SharedCache {
    /// Without a cache, every read goes to the database.
    pub fn new(
        cache: Option<Arc<dyn Cache>>,
        store: Store,
        metrics: Metrics,
        ttl: Duration,
    ) -> SharedCache {
        SharedCache { cache, store, metrics, ttl, flights: Flights::default() }
    }

    /// The cache for the thread, and the runtime, in which this is called. It behaves like another
    /// instance, so that no read waits for a cross-thread wake-up. Only loads in flight are shared.
    pub fn on_thread(&self) -> ReadCache {
        let inner = self.cache.as_ref().map(|cache| {
            let (store, metrics) = (self.store.clone(), self.metrics.clone());
            Inner::new(cache.apart(), store, metrics, self.ttl, self.flights.clone())
        });
        ReadCache { handles: inner.map(Handles::start) }
    }
}
