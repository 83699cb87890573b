//! The cache and the rate limiter on a Redis server.

mod bars;
mod commands;
mod copies;
mod limiter;
mod link;
mod probe;
mod url;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::redis::{self, Cmd, Pipeline, Script};

use self::bars::{ActiveBars, SetBar};
use self::commands::{Filled, set_generation};
use self::copies::{Copies, Copy};
use self::limiter::TAKE;
use self::link::{Link, Server, timed};
pub use self::url::RedisUrl;
use super::{Bar, Cache, CacheError, Entry, EntryKey, Keyspace, Scope, Slot, new_generation};

/// A Redis server.
///
/// Each generation has a key and each entry has a key. An entry's value begins with the generation
/// it was filled under. So both are read in one round trip, and an entry of another generation is a
/// miss. The bars of a keyspace have a key together, which is read in the same round trip.
pub struct RedisCache {
    server: Server,
    prefix: String,
    take: Script,
    set_bar: SetBar,
    copies: Copies,
}

impl RedisCache {
    /// A cache that connects when first used. Every key begins with `prefix`.
    ///
    /// # Errors
    /// Never for a size above zero.
    pub fn new(url: &RedisUrl, prefix: &str) -> anyhow::Result<RedisCache> {
        Ok(RedisCache {
            server: Server::new(url)?,
            prefix: prefix.to_owned(),
            take: Script::new(TAKE),
            set_bar: SetBar::default(),
            copies: Copies::default(),
        })
    }

    /// Why the server refuses the connection (wrong credentials, no such database); `None` if it
    /// accepts it or can't be reached.
    pub async fn refusal(&self) -> Option<String> {
        self.server.refusal().await
    }

    fn bars_key(&self, run: &str, keyspace: &Keyspace) -> String {
        format!("{}:{run}:{keyspace}:bars", self.prefix)
    }

    // Versions before the bars had keys named `generation`. They know no bars, so they must not
    // find these generations.
    fn generation_key(&self, run: &str, keyspace: &Keyspace, scope: Scope) -> String {
        format!("{}:{run}:{keyspace}:barred-generation:{scope}", self.prefix)
    }

    fn entry_key(&self, run: &str, keyspace: &Keyspace, place: &EntryKey) -> String {
        format!("{}:{run}:{keyspace}:entry:{}:{}", self.prefix, place.scope, place.key)
    }

    /// Reads the generations of these scopes, the entries of these places and the bars, in one
    /// round trip. What is not there yet is made, and then all is read again: a bar that was set in
    /// the meantime must not go unseen under the new generation.
    async fn read(
        &self,
        link: &mut Link,
        keyspace: &Keyspace,
        scopes: HashSet<Scope>,
        places: &[&EntryKey],
    ) -> Result<Read, CacheError> {
        let (run, scopes) = (&link.run, Vec::from_iter(scopes));
        let bars = self.bars_key(run, keyspace);
        let mut keys: Vec<String> =
            scopes.iter().map(|scope| self.generation_key(run, keyspace, *scope)).collect();
        keys.extend(places.iter().map(|place| self.entry_key(run, keyspace, place)));
        let (mut values, mut found) = ask(link, redis::pipe(), &keys, &bars).await?;
        if found.lost() || values.iter().take(scopes.len()).any(Option::is_none) {
            if found.lost() {
                timed::<()>(self.set_bar.make(&bars).invoke_async(&mut link.connection)).await?;
            }
            let mut pipeline = redis::pipe();
            for (key, _) in keys.iter().zip(&values).take(scopes.len()).filter(|(_, v)| v.is_none())
            {
                set_generation(&mut pipeline, key, &new_generation()).arg("NX");
            }
            (values, found) = ask(link, pipeline, &keys, &bars).await?;
        }
        let mut values = keys.into_iter().zip(values);
        let generations = scopes.into_iter().zip(values.by_ref());
        let generations = generations.map(|(scope, (_, generation))| {
            (scope, Generation { free: found.leave_free(scope), id: generation })
        });
        Ok(Read { generations: generations.collect(), values: values.collect() })
    }

    /// Reads the entries of these places alone.
    async fn read_entries(
        &self,
        link: &mut Link,
        keyspace: &Keyspace,
        places: &[&EntryKey],
    ) -> Result<Vec<KeyAndValue>, CacheError> {
        let keys = places.iter().map(|place| self.entry_key(&link.run, keyspace, place));
        let keys: Vec<String> = keys.collect();
        let values = timed(redis::cmd("MGET").arg(&keys).query_async(&mut link.connection)).await?;
        let values = one_for_each(&keys, values)?;
        Ok(keys.into_iter().zip(values).collect())
    }

    /// The result of a lookup, from what was read for the place and the present generation.
    fn entry(&self, place: &EntryKey, read: Option<KeyAndValue>, generation: &Generation) -> Entry {
        let (Some((key, value)), Some(id)) = (read, &generation.id) else {
            return Entry::Miss(None);
        };
        if let Some(value) = value.filter(|value| value.starts_with(id)) {
            let value = value.slice(id.len()..);
            self.copies.keep(place, Copy { generation: id.clone(), value: value.clone() });
            return Entry::Hit(value);
        }
        let generation_of_slot = || String::from_utf8_lossy(id).into_owned();
        Entry::Miss(generation.free.then(|| Slot { key, generation: generation_of_slot() }))
    }
}

/// Sends what is in the pipeline, and reads these keys, the bars and the time, in this order: what
/// is set in between is then seen as a bar, or ends the generation that was read.
async fn ask(
    link: &mut Link,
    mut pipeline: Pipeline,
    keys: &[String],
    bars: &str,
) -> Result<(Vec<Option<Bytes>>, ActiveBars), CacheError> {
    pipeline.cmd("MGET").arg(keys);
    pipeline.cmd("ZRANGE").arg(bars).arg(0).arg(-1).arg("WITHSCORES");
    pipeline.cmd("TIME");
    let (values, bars, time) = timed(pipeline.query_async(&mut link.connection)).await?;
    Ok((one_for_each(keys, values)?, ActiveBars { bars, time }))
}

fn one_for_each(
    keys: &[String],
    values: Vec<Option<Bytes>>,
) -> Result<Vec<Option<Bytes>>, CacheError> {
    if values.len() != keys.len() {
        return Err(CacheError("MGET answers for fewer keys than it was asked for".into()));
    }
    Ok(values)
}

/// The result of a round trip.
struct Read {
    generations: HashMap<Scope, Generation>,
    /// One for each place asked for.
    values: Vec<KeyAndValue>,
}

/// A generation as it was read.
struct Generation {
    /// `None` if Redis has dropped it at once.
    id: Option<Bytes>,
    /// Whether no bar is on its scope.
    free: bool,
}

type KeyAndValue = (String, Option<Bytes>);

#[async_trait]
impl Cache for RedisCache {
    async fn look(
        &self,
        keyspace: &Keyspace,
        places: &[&EntryKey],
    ) -> Result<Vec<Entry>, CacheError> {
        let copies: Vec<Option<Copy>> = places.iter().map(|place| self.copies.get(place)).collect();
        let scopes: HashSet<Scope> = places.iter().map(|place| place.scope).collect();
        self.server
            .with_link(async |mut link| {
                // One round trip for all generations, and for the entries that have no local copy.
                let uncopied = places.iter().zip(&copies).filter(|(_, copy)| copy.is_none());
                let uncopied: Vec<&EntryKey> = uncopied.map(|(place, _)| *place).collect();
                let read = self.read(&mut link, keyspace, scopes, &uncopied).await?;
                let mut values = read.values.into_iter();
                let mut found = Vec::with_capacity(places.len());
                let mut outdated = Vec::new();
                for (index, (place, copy)) in places.iter().zip(copies).enumerate() {
                    let generation = &read.generations[&place.scope];
                    found.push(match copy {
                        Some(copy) if Some(&copy.generation) == generation.id.as_ref() => {
                            Entry::Hit(copy.value)
                        }
                        Some(_) => {
                            outdated.push(index);
                            Entry::Miss(None)
                        }
                        None => self.entry(place, values.next(), generation),
                    });
                }
                if !outdated.is_empty() {
                    let again: Vec<&EntryKey> =
                        outdated.iter().map(|index| places[*index]).collect();
                    let values = self.read_entries(&mut link, keyspace, &again).await?;
                    for (index, value) in outdated.into_iter().zip(values) {
                        let generation = &read.generations[&places[index].scope];
                        found[index] = self.entry(places[index], Some(value), generation);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn fill(&self, slot: &Slot, value: &[u8], ttl: Duration) -> Result<(), CacheError> {
        self.server
            .with_link(async |mut link| {
                let length = slot.key.len() + slot.generation.len() + value.len();
                let mut set = Cmd::with_capacity(5, length + 32);
                set.arg("SET").arg(&slot.key).arg(Filled { generation: &slot.generation, value });
                set.arg("PX").arg(ttl.as_millis() as u64);
                timed(set.query_async(&mut link.connection)).await
            })
            .await
    }

    async fn bar(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<Bar, CacheError> {
        self.server
            .with_link(async |mut link| {
                let key = self.bars_key(&link.run, keyspace);
                let name = bars::name(scopes);
                let generations = scopes.iter();
                let generations =
                    generations.map(|scope| self.generation_key(&link.run, keyspace, *scope));
                let generations: Vec<String> = generations.collect();
                let set = self.set_bar.set(&key, &name, &generations);
                timed::<()>(set.invoke_async(&mut link.connection)).await?;
                Ok(Bar { key, name })
            })
            .await
    }

    async fn lift(&self, bars: &[&Bar]) -> Result<bool, CacheError> {
        self.server
            .with_link(async |mut link| {
                let mut pipeline = redis::pipe();
                for bar in bars {
                    pipeline.cmd("ZREM").arg(&bar.key).arg(&bar.name);
                }
                let lifted: Vec<bool> = timed(pipeline.query_async(&mut link.connection)).await?;
                Ok(lifted.into_iter().all(|lifted| lifted))
            })
            .await
    }

    async fn invalidate(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<(), CacheError> {
        self.server
            .with_link(async |mut link| {
                let mut pipeline = redis::pipe();
                for scope in scopes {
                    let key = self.generation_key(&link.run, keyspace, *scope);
                    set_generation(&mut pipeline, &key, &new_generation());
                }
                timed(pipeline.query_async(&mut link.connection)).await
            })
            .await
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.server
            .with_link(async |mut link| {
                timed(redis::cmd("PING").query_async(&mut link.connection)).await
            })
            .await
    }

    /// With a connection of its own, whose task runs on the thread that first uses it.
    fn apart(&self) -> Arc<dyn Cache> {
        Arc::new(RedisCache {
            server: self.server.apart(),
            prefix: self.prefix.clone(),
            take: self.take.clone(),
            set_bar: self.set_bar.clone(),
            copies: self.copies.clone(),
        })
    }
}
