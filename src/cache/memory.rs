//! A cache in this process's memory. Other processes don't see it, so it is coherent only where a
//! single process serves all requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::sync::Cache as Map;

use super::{Cache, CacheError, Entry, Keyspace, Place, Scope, Slot, new_generation};

/// The limit on all entries together, in bytes of keys and values.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// How many generations are kept at most. An evicted one is replaced by a new one, under which
/// nothing is found.
const MOST_GENERATIONS: u64 = 1_000_000;

/// An in-memory cache. See the module.
#[derive(Clone)]
pub struct MemoryCache {
    generations: Map<(Keyspace, Scope), String>,
    entries: Map<String, Kept>,
}

#[derive(Clone)]
struct Kept {
    generation: String,
    value: Bytes,
    until: Instant,
}

impl Default for MemoryCache {
    fn default() -> MemoryCache {
        let size = |key: &String, kept: &Kept| {
            u32::try_from(key.len() + kept.value.len()).unwrap_or(u32::MAX)
        };
        MemoryCache {
            generations: Map::new(MOST_GENERATIONS),
            entries: Map::builder().weigher(size).max_capacity(MOST_BYTES).build(),
        }
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn look(&self, keyspace: &Keyspace, places: &[&Place]) -> Result<Vec<Entry>, CacheError> {
        let look = |place: &&Place| {
            let generation =
                self.generations.get_with((keyspace.clone(), place.scope), new_generation);
            let key = format!("{keyspace}:{}:{}", place.scope, place.key);
            let kept = self.entries.get(&key);
            match kept.filter(|kept| kept.generation == generation && Instant::now() < kept.until) {
                Some(kept) => Entry::Hit(kept.value),
                None => Entry::Miss(Slot { key, generation }),
            }
        };
        Ok(places.iter().map(look).collect())
    }

    async fn fill(&self, slot: &Slot, value: &[u8], ttl: Duration) -> Result<(), CacheError> {
        let (generation, until) = (slot.generation.clone(), Instant::now() + ttl);
        let kept = Kept { generation, value: Bytes::copy_from_slice(value), until };
        self.entries.insert(slot.key.clone(), kept);
        Ok(())
    }

    async fn invalidate(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<(), CacheError> {
        for scope in scopes {
            self.generations.insert((keyspace.clone(), *scope), new_generation());
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), CacheError> {
        Ok(())
    }

    fn apart(&self) -> Arc<dyn Cache> {
        Arc::new(self.clone())
    }
}
