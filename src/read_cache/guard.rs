//! The guard: a row in the database that suspends the cache for all processes while some of them
//! can't reach it.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::cache::Keyspace;
use crate::store::{Store, StoreError, cache_guard};

/// How long a process trusts its copy of the guard.
const FRESH: Duration = Duration::from_millis(250);
/// How long a failure suspends the cache for all processes. It is renewed while the failure lasts.
const SUSPENSION: Duration = Duration::from_secs(5);
/// A suspension with less time left than this is renewed before a write relies on it.
const MARGIN: Duration = Duration::from_secs(1);

/// The guard, with this process's copy of its row.
pub(super) struct Guard {
    store: Store,
    knowledge: Mutex<LastCopy>,
}

/// The last copy of the row, and when reading it last failed.
#[derive(Default)]
struct LastCopy {
    known: Option<GuardCopy>,
    failed_at: Option<Instant>,
}

/// A copy of the row.
#[derive(Debug, Clone)]
struct GuardCopy {
    keyspace: Keyspace,
    /// When the row was asked for. Later changes are not in this copy.
    as_of: Instant,
    suspended_until: Option<Instant>,
    /// The start of the suspension, as far as this process knows of it without a gap.
    suspended_since: Option<Instant>,
}

impl GuardCopy {
    fn usable(&self, now: Instant) -> Option<Keyspace> {
        let suspended = self.suspended_until.is_some_and(|until| now < until);
        (!suspended).then(|| self.keyspace.clone())
    }

    fn fresh(&self, now: Instant) -> bool {
        now.duration_since(self.as_of) < FRESH
            || self.suspended_until.is_some_and(|until| now < until)
    }
}

impl Guard {
    pub(super) fn new(store: Store) -> Guard {
        Guard { store, knowledge: Mutex::default() }
    }

    /// The keyspace to use (this database's, in the present epoch), or `None` while the cache is
    /// suspended or the guard can't be read.
    pub(super) async fn usable(&self) -> Option<Keyspace> {
        self.known().await?.usable(Instant::now())
    }

    /// Suspends the cache for all processes, and returns when all of them must have noticed.
    pub(super) async fn suspend(&self) -> Result<(), StoreError> {
        let known_since = {
            let mut knowledge = self.knowledge.lock().await;
            let now = Instant::now();
            match &knowledge.known {
                Some(GuardCopy {
                    suspended_until: Some(until),
                    suspended_since: Some(since),
                    ..
                }) if *until > now + MARGIN => *since,
                _ => {
                    let guard =
                        cache_guard::suspend(&mut *self.store.connection().await?, SUSPENSION)
                            .await?;
                    let since = Instant::now();
                    knowledge.known =
                        Some(GuardCopy { suspended_since: Some(since), ..copy_of(&guard, now) });
                    since
                }
            }
        };
        tokio::time::sleep_until((known_since + FRESH).into()).await;
        Ok(())
    }

    /// The copy of the row, read again if it isn't fresh; `None` if it can't be read.
    async fn known(&self) -> Option<GuardCopy> {
        let mut knowledge = self.knowledge.lock().await;
        let now = Instant::now();
        if let Some(known) = knowledge.known.as_ref().filter(|k| k.fresh(now)) {
            return Some(known.clone());
        }
        // Callers that waited for a read that failed must not repeat it one after the other.
        if knowledge.failed_at.is_some_and(|at| now.duration_since(at) < FRESH) {
            return None;
        }
        let guard = match self.store.connection().await {
            Ok(mut connection) => cache_guard::read(&mut connection).await,
            Err(error) => Err(error),
        };
        knowledge.failed_at = guard.is_err().then(Instant::now);
        knowledge.known = guard.ok().map(|guard| copy_of(&guard, now));
        knowledge.known.clone()
    }
}

/// `asked` is from before the row was read, so the copy is never taken for younger than it is.
fn copy_of(guard: &cache_guard::Guard, asked: Instant) -> GuardCopy {
    let suspended = u64::try_from(guard.suspended_ms).unwrap_or_default();
    let now = Instant::now();
    GuardCopy {
        keyspace: Keyspace::new(&guard.identity, guard.epoch),
        as_of: asked,
        suspended_until: (suspended > 0).then(|| now + Duration::from_millis(suspended)),
        suspended_since: (suspended > 0).then_some(now),
    }
}
