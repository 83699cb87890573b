//! The seam to the cache. It knows scopes, generations and entries, but not what is cached.

mod breaker;
mod limits;
mod memory;
mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::redis::{RedisCache, RedisUrl};
pub use breaker::{Breaker, Circuit};
pub use limits::{DatabaseLimiter, Limiter, MemoryLimiter};
pub use memory::MemoryCache;

/// A cache with generations.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Looks each place up under the present generation of its scope: the entry, or the slot to
    /// fill.
    async fn look(
        &self,
        keyspace: &Keyspace,
        places: &[&EntryKey],
    ) -> Result<Vec<Entry>, CacheError>;

    /// Fills a slot. The entry expires after `ttl`, and may be evicted before.
    async fn fill(&self, slot: &Slot, value: &[u8], ttl: Duration) -> Result<(), CacheError>;

    /// Sets new generations, and a bar on these scopes: until it is lifted or [`BAR`] has passed, a
    /// lookup gives nobody a slot to fill. Other bars on the same scopes are independent of it.
    async fn bar(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<Bar, CacheError>;

    /// Lifts these bars. Returns whether all were still there, so that none ended too early.
    async fn lift(&self, bars: &[&Bar]) -> Result<bool, CacheError>;

    /// Sets new generations, so that no older entry is found again. Call it after the commit of the
    /// write that makes the entries stale. Bars stay.
    async fn invalidate(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<(), CacheError>;

    /// Checks that the cache responds.
    async fn ping(&self) -> Result<(), CacheError>;

    /// The same cache for another thread: it connects by itself, on the thread that first uses it.
    fn apart(&self) -> Arc<dyn Cache>;
}

/// The part of every key that names the database and the epoch of its cache. Entries of another
/// database or epoch are not found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyspace(Arc<str>);

impl Keyspace {
    /// The keyspace of the database with this identity, in this epoch.
    pub fn new(identity: &str, epoch: i64) -> Keyspace {
        Keyspace(format!("{identity}:{epoch}").into())
    }
}

impl fmt::Display for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Entries that become invalid together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every page of the task list.
    TaskLists,
    /// One task.
    Task(i64),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::TaskLists => f.write_str("tasks"),
            Scope::Task(id) => write!(f, "task:{id}"),
        }
    }
}

/// The address of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryKey {
    /// The scope that invalidates it.
    pub scope: Scope,
    /// Its key within the scope.
    pub key: String,
}

/// The result of a lookup.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A hit, with the cached body.
    Hit(Bytes),
    /// A miss, with the slot that a value read from now on may fill. There is none while a bar is
    /// on the scope.
    Miss(Option<Slot>),
}

/// How long a bar lasts in the cache unless it is lifted. This is also how long readers fill
/// nothing after a writer was killed, or after the cache has lost its bars.
pub const BAR: Duration = Duration::from_secs(2);
/// How long a writer relies on its bar, counted from when it asked for it. The rest of [`BAR`] is
/// for clocks that run differently. Few writes take this long; these end the generation once more.
pub const RELIED_ON: Duration = Duration::from_secs(1);
/// How long after a bar was asked for other writes of its process may join it.
pub const JOINED_FOR: Duration = Duration::from_millis(500);

/// A bar that was set.
#[derive(Debug, Clone)]
pub struct Bar {
    /// Where the cache keeps it.
    key: String,
    /// Its name there, which no other bar has.
    name: String,
}

/// The key of an entry, and the generation that was current at the lookup. The entry will be found
/// under no other generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The entry's full key in the cache.
    pub key: String,
    /// The generation to fill it under.
    pub generation: String,
}

/// A random number in 16 hexadecimal digits. Random, so that a generation that was lost never comes
/// back.
fn new_generation() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The cache failed. What it was asked to do may or may not have happened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cache: {0}")]
pub struct CacheError(pub String);
