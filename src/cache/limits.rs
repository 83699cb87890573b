//! The seam to the rate limiter. It knows keys and rates, but not whose they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Map;

use super::CacheError;
use crate::domain::rate::{Decision, Rate};
use crate::store::installation::Installation;

/// Counts requests against a rate.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Counts one request for this key, if the rate grants it.
    async fn take(&self, key: &str, rate: Rate) -> Result<Decision, CacheError>;
}

/// A limiter for one database. The database's identity is part of each key, so that two databases
/// never share their counts on one server.
pub struct DatabaseLimiter<L> {
    limiter: Arc<L>,
    installation: Installation,
}

impl<L: Limiter> DatabaseLimiter<L> {
    /// Wraps `limiter` for this installation.
    pub fn new(limiter: Arc<L>, installation: Installation) -> DatabaseLimiter<L> {
        DatabaseLimiter { limiter, installation }
    }
}

#[async_trait]
impl<L: Limiter> Limiter for DatabaseLimiter<L> {
    async fn take(&self, key: &str, rate: Rate) -> Result<Decision, CacheError> {
        let facts = self.installation.facts().await;
        let facts = facts.map_err(|error| CacheError(format!("whose keys: {error}")))?;
        self.limiter.take(&format!("{}:{key}", facts.identity), rate).await
    }
}

/// How many keys are kept at most, about 20 MB. The least recently used is evicted first: a client
/// that sends from so many addresses would not be stopped by a limit on each of them anyway.
const MOST_KEYS: u64 = 100_000;

/// Counts in memory, for this process alone.
pub struct MemoryLimiter {
    started: Instant,
    /// For each key, the time up to which its rate is used up, in microseconds since `started`.
    arrivals: Map<String, u64>,
}

impl Default for MemoryLimiter {
    fn default() -> MemoryLimiter {
        let arrivals = Map::builder()
            .max_capacity(MOST_KEYS)
            .eviction_policy(EvictionPolicy::lru())
            // No period is longer than a day, so an older key has its full rate again.
            .time_to_idle(Duration::from_secs(24 * 3600))
            .build();
        MemoryLimiter { started: Instant::now(), arrivals }
    }
}

#[async_trait]
impl Limiter for MemoryLimiter {
    async fn take(&self, key: &str, rate: Rate) -> Result<Decision, CacheError> {
        let mut result = None;
        // Calls for the same key run one after the other.
        self.arrivals.entry_by_ref(key).and_compute_with(|entry| {
            let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let arrival = entry.map_or(0, |entry| entry.into_value());
            let (taken, ahead) = rate.take(arrival.saturating_sub(now));
            result = Some(taken);
            if taken.granted { Op::Put(now.saturating_add(ahead)) } else { Op::Nop }
        });
        result.ok_or_else(|| CacheError("the count was not taken".into()))
    }
}
