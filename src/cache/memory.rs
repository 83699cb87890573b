//! A cache in this process's memory. Other processes don't see it, so it is coherent only where a
//! single process serves all requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::sync::Cache as Map;

use super::{BAR, Bar, Cache, CacheError, Entry, EntryKey, Keyspace, Scope, Slot, new_generation};

/// The limit on all entries together, in bytes of keys and values.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// How many generations are kept at most. An evicted one is replaced by a new one, under which
/// nothing is found.
const MOST_GENERATIONS: u64 = 1_000_000;

/// An in-memory cache. See the module.
#[derive(Clone)]
pub struct MemoryCache {
    generations: Map<(Keyspace, Scope), String>,
    entries: Map<String, StoredValue>,
    bars: Arc<Mutex<Bars>>,
}

/// Bars by key and name.
type Bars = HashMap<(String, String), Barred>;

struct Barred {
    scopes: Vec<Scope>,
    until: Instant,
}

#[derive(Clone)]
struct StoredValue {
    generation: String,
    value: Bytes,
    until: Instant,
}

impl Default for MemoryCache {
    fn default() -> MemoryCache {
        let size = |key: &String, kept: &StoredValue| {
            u32::try_from(key.len() + kept.value.len()).unwrap_or(u32::MAX)
        };
        MemoryCache {
            generations: Map::new(MOST_GENERATIONS),
            entries: Map::builder().weigher(size).max_capacity(MOST_BYTES).build(),
            bars: Arc::default(),
        }
    }
}

impl MemoryCache {
    fn bars(&self) -> MutexGuard<'_, Bars> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether readers may fill entries of this scope.
    fn is_free(&self, keyspace: &Keyspace, scope: Scope) -> bool {
        let (key, now) = (keyspace.to_string(), Instant::now());
        let on_it = |barred: &Barred| now < barred.until && barred.scopes.contains(&scope);
        !self.bars().iter().any(|((of, _), barred)| *of == key && on_it(barred))
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn look(
        &self,
        keyspace: &Keyspace,
        places: &[&EntryKey],
    ) -> Result<Vec<Entry>, CacheError> {
        let look = |place: &&EntryKey| {
            let generation =
                self.generations.get_with((keyspace.clone(), place.scope), new_generation);
            let key = format!("{keyspace}:{}:{}", place.scope, place.key);
            let kept = self.entries.get(&key);
            match kept.filter(|kept| kept.generation == generation && Instant::now() < kept.until) {
                Some(kept) => Entry::Hit(kept.value),
                // The bars are looked at after the generation, so that each write is seen as one
                // or the other.
                None => {
                    let free = self.is_free(keyspace, place.scope);
                    Entry::Miss(free.then_some(Slot { key, generation }))
                }
            }
        };
        Ok(places.iter().map(look).collect())
    }

    async fn fill(&self, slot: &Slot, value: &[u8], ttl: Duration) -> Result<(), CacheError> {
        let (generation, until) = (slot.generation.clone(), Instant::now() + ttl);
        let kept = StoredValue { generation, value: Bytes::copy_from_slice(value), until };
        self.entries.insert(slot.key.clone(), kept);
        Ok(())
    }

    async fn bar(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<Bar, CacheError> {
        let (bar, now) =
            (Bar { key: keyspace.to_string(), name: new_generation() }, Instant::now());
        let barred = Barred { scopes: scopes.to_vec(), until: now + BAR };
        {
            let mut bars = self.bars();
            bars.retain(|_, barred| now < barred.until);
            bars.insert((bar.key.clone(), bar.name.clone()), barred);
        }
        // After the bar, so that no reader finds the new generation without it.
        self.invalidate(keyspace, scopes).await?;
        Ok(bar)
    }

    async fn lift(&self, lifted: &[&Bar]) -> Result<bool, CacheError> {
        let mut bars = self.bars();
        let found = lifted.iter().map(|bar| bars.remove(&(bar.key.clone(), bar.name.clone())));
        Ok(found.filter(Option::is_none).count() == 0)
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
