//! The seam to the cache. It knows scopes, generations and entries, not what they are of.

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
pub use limits::{Limiter, MemoryLimiter, OfDatabase};
pub use memory::MemoryCache;

/// A cache with generations.
#[async_trait]
pub trait Cache: Send + Sync {
    /// For each place the entry under the present generation of its scope, or the slot for one.
    async fn look(&self, keyspace: &Keyspace, places: &[&Place]) -> Result<Vec<Entry>, CacheError>;

    /// Puts an entry into its place. It is forgotten after `ttl`, if not before.
    async fn fill(&self, slot: &Slot, value: &[u8], ttl: Duration) -> Result<(), CacheError>;

    /// Begins new generations: no entry from before will be found again. To be called after the commit of
    /// what makes them old.
    async fn invalidate(&self, keyspace: &Keyspace, scopes: &[Scope]) -> Result<(), CacheError>;

    /// Asks for a sign of life.
    async fn ping(&self) -> Result<(), CacheError>;

    /// The same cache by a way of its own: what has to be done to reach it is done by whoever uses this first.
    fn apart(&self) -> Arc<dyn Cache>;
}

/// Part of every key: of which database something is cached, and in which epoch of its cache. Entries of
/// another database or another epoch are not seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyspace(Arc<str>);

impl Keyspace {
    /// Of the database with this identity, in this epoch.
    pub fn new(identity: &str, epoch: i64) -> Keyspace {
        Keyspace(format!("{identity}:{epoch}").into())
    }
}

impl fmt::Display for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes invalid together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Where something is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// What it becomes invalid with.
    pub scope: Scope,
    /// What it is called there.
    pub key: String,
}

/// What a look found.
#[derive(Debug, Clone)]
pub enum Entry {
    /// The value.
    Hit(Bytes),
    /// Nothing, and where a value read from now on may go.
    Miss(Slot),
    /// Nothing, and nothing may go there yet: so much is written that it would not be found for long.
    Unsettled,
}

/// The place of an entry, and the generation that was current when it was looked for: it is found under no
/// other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The key.
    pub key: String,
    /// The generation.
    pub generation: String,
}

/// A random number, in digits of a fixed number: one that was lost never comes again.
fn new_generation() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The cache fails; whatever it was asked may or may not have happened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cache: {0}")]
pub struct CacheError(pub String);
