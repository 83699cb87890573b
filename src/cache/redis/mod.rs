//! The cache and the rate limiter on a Redis server.

mod commands;
mod copies;
mod limiter;
mod link;
mod stretches;
mod url;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::redis::{self, Cmd, Script};

use self::commands::{Filled, change_generation, new_stretch, set_generation, stretch};
use self::copies::{Copies, Copy};
use self::limiter::TAKE;
use self::link::{Link, Server, timed};
use self::stretches::{Settled, Step, Stretches};
pub use self::url::RedisUrl;
use super::{Cache, CacheError, Entry, Keyspace, Place, Scope, Slot, new_generation};

/// A Redis server.
///
/// Each generation has a key and each entry has a key. An entry's value begins with the generation
/// it was filled under. So both are read in one round trip, and an entry of another generation is a
/// miss.
///
/// Every write changes the generation of the lists. Its first digits name its stretch (see
/// `stretches`).
pub struct RedisCache {
    server: Server,
    prefix: String,
    take: Script,
    copies: Copies,
    /// Stretches of the list generation, shared by all threads of this process.
    stretches: Arc<Stretches>,
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
            copies: Copies::default(),
            stretches: Arc::default(),
        })
    }

    /// Why the server refuses the connection (wrong credentials, no such database); `None` if it
    /// accepts it or can't be reached.
    pub async fn refusal(&self) -> Option<String> {
        self.server.refusal().await
    }

    fn generation_key(&self, run: &str, keyspace: &Keyspace, scope: Scope) -> String {
        format!("{}:{run}:{keyspace}:generation:{scope}", self.prefix)
    }

    fn entry_key(&self, run: &str, keyspace: &Keyspace, place: &Place) -> String {
        format!("{}:{run}:{keyspace}:entry:{}:{}", self.prefix, place.scope, place.key)
    }

    /// Sets a first generation unless another process has set one just now. Returns the one that
    /// counts.
    async fn begin(&self, link: &mut Link, scope: Scope, key: &str) -> Result<Bytes, CacheError> {
        let new = match scope {
            Scope::TaskLists => new_stretch(),
            Scope::Task(_) => new_generation(),
        };
        let mut pipeline = redis::pipe();
        set_generation(&mut pipeline, key, &new).arg("NX");
        pipeline.get(key);
        let (generation,): (Bytes,) = timed(pipeline.query_async(&mut link.connection)).await?;
        Ok(generation)
    }

    /// Reads the generations of these scopes and the entries of these places in one round trip.
    async fn read(
        &self,
        link: &mut Link,
        keyspace: &Keyspace,
        scopes: HashSet<Scope>,
        places: Vec<&Place>,
    ) -> Result<Read, CacheError> {
        let (run, scopes) = (&link.run, Vec::from_iter(scopes));
        let mut keys: Vec<String> =
            scopes.iter().map(|scope| self.generation_key(run, keyspace, *scope)).collect();
        keys.extend(places.iter().map(|place| self.entry_key(run, keyspace, place)));
        let values: Vec<Option<Bytes>> =
            timed(redis::cmd("MGET").arg(&keys).query_async(&mut link.connection)).await?;
        if values.len() != keys.len() {
            return Err(CacheError("MGET answers for fewer keys than it was asked for".into()));
        }
        let mut found = keys.into_iter().zip(values);
        let mut generations = HashMap::with_capacity(scopes.len());
        for (scope, (key, generation)) in scopes.into_iter().zip(found.by_ref()) {
            let generation = match generation {
                Some(generation) => generation,
                None => self.begin(link, scope, &key).await?,
            };
            generations.insert(scope, generation);
        }
        Ok(Read { generations, values: found.collect() })
    }

    /// The result of a lookup, from what was read for the place and the present generation.
    fn entry(&self, place: &Place, read: Option<KeyAndValue>, generation: &Bytes) -> Entry {
        let Some((key, value)) = read else { return Entry::Unsettled };
        if let Some(value) = value.filter(|value| value.starts_with(generation)) {
            let value = value.slice(generation.len()..);
            self.copies.keep(place, Copy { generation: generation.clone(), value: value.clone() });
            return Entry::Hit(value);
        }
        let generation = String::from_utf8_lossy(generation).into_owned();
        Entry::Miss(Slot { key, generation })
    }

    /// Whether an entry may be filled under this generation of the lists. May wait a few
    /// milliseconds.
    async fn is_settled(&self, generation: &str) -> bool {
        match self.stretches.settled(stretch(generation), Instant::now()) {
            Settled::Yes => true,
            Settled::After(wait) => {
                tokio::time::sleep(wait).await;
                true
            }
            Settled::No => false,
        }
    }
}

/// The result of a round trip.
struct Read {
    generations: HashMap<Scope, Bytes>,
    /// One for each place asked for.
    values: Vec<KeyAndValue>,
}

type KeyAndValue = (String, Option<Bytes>);

#[async_trait]
impl Cache for RedisCache {
    async fn look(&self, keyspace: &Keyspace, places: &[&Place]) -> Result<Vec<Entry>, CacheError> {
        let copies: Vec<Option<Copy>> = places.iter().map(|place| self.copies.get(place)).collect();
        let scopes: HashSet<Scope> = places.iter().map(|place| place.scope).collect();
        self.server
            .with_link(async |mut link| {
                // One round trip for all generations, and for the entries that have no local copy.
                let uncopied = places.iter().zip(&copies).filter(|(_, copy)| copy.is_none());
                let uncopied = uncopied.map(|(place, _)| *place).collect();
                let read = self.read(&mut link, keyspace, scopes, uncopied).await?;
                let mut values = read.values.into_iter();
                let mut found = Vec::with_capacity(places.len());
                let mut outdated = Vec::new();
                for (index, (place, copy)) in places.iter().zip(copies).enumerate() {
                    let generation = &read.generations[&place.scope];
                    found.push(match copy {
                        Some(copy) if copy.generation == generation => Entry::Hit(copy.value),
                        Some(_) => {
                            outdated.push(index);
                            Entry::Unsettled
                        }
                        None => self.entry(place, values.next(), generation),
                    });
                }
                if !outdated.is_empty() {
                    let again = outdated.iter().map(|index| places[*index]).collect();
                    let values =
                        self.read(&mut link, keyspace, HashSet::new(), again).await?.values;
                    for (index, value) in outdated.into_iter().zip(values) {
                        let generation = &read.generations[&places[index].scope];
                        found[index] = self.entry(places[index], Some(value), generation);
                    }
                }
                // All lists share one generation, so one answer goes for all of them.
                let mut lists = places.iter().zip(&mut found).filter(|(place, entry)| {
                    place.scope == Scope::TaskLists && matches!(entry, Entry::Miss(_))
                });
                if let Some((_, first)) = lists.next()
                    && let Entry::Miss(slot) = &*first
                    && !self.is_settled(&slot.generation).await
                {
                    *first = Entry::Unsettled;
                    lists.for_each(|(_, entry)| *entry = Entry::Unsettled);
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

    async fn invalidate(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<(), CacheError> {
        let asked = Instant::now();
        self.server
            .with_link(async |mut link| {
                let mut pipeline = redis::pipe();
                let mut stretch_begun = None;
                for scope in scopes {
                    let key = self.generation_key(&link.run, keyspace, *scope);
                    match scope {
                        Scope::Task(_) => {
                            set_generation(&mut pipeline, &key, &new_generation());
                        }
                        Scope::TaskLists => match self.stretches.written(asked) {
                            Step::Nothing => {}
                            Step::Generation => change_generation(&mut pipeline, &key),
                            Step::Stretch => {
                                let generation = new_stretch();
                                set_generation(&mut pipeline, &key, &generation);
                                stretch_begun = Some(generation);
                            }
                        },
                    }
                }
                if pipeline.is_empty() {
                    return Ok(());
                }
                timed::<()>(pipeline.query_async(&mut link.connection)).await?;
                if let Some(generation) = stretch_begun {
                    self.stretches.begun(stretch(&generation), asked, Instant::now());
                }
                Ok(())
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
            copies: self.copies.clone(),
            stretches: Arc::clone(&self.stretches),
        })
    }
}
