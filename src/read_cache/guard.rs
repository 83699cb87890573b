//! The guard: a row of the database that bars everybody from the cache while some can't reach it.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::cache::Keyspace;
use crate::store::{Store, StoreError, cache_guard};

/// For how long a reader trusts what it knows of the guard.
const FRESH: Duration = Duration::from_millis(250);
/// For how long everybody is barred after a failure; it is renewed while the failure lasts.
const SUSPENSION: Duration = Duration::from_secs(5);
/// A suspension with less left than this is renewed, not relied on.
const MARGIN: Duration = Duration::from_secs(1);

/// The guard as this process sees it.
pub(super) struct Guard {
    store: Store,
    knowledge: Mutex<Knowledge>,
}

/// The guard as this process knows it, or when it could not be asked.
#[derive(Default)]
struct Knowledge {
    known: Option<Known>,
    failed_at: Option<Instant>,
}

/// What this process knows of the guard.
#[derive(Debug, Clone)]
struct Known {
    keyspace: Keyspace,
    /// When it was asked for: what came after is not known.
    as_of: Instant,
    suspended_until: Option<Instant>,
    /// Since when it has been known to be suspended without a break.
    suspended_since: Option<Instant>,
}

impl Known {
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

    /// The part of the cache that may be used, if it may: that of this database and its epoch.
    pub(super) async fn usable(&self) -> Option<Keyspace> {
        self.known().await?.usable(Instant::now())
    }

    /// Bars everybody from the cache, and returns when everybody knows.
    pub(super) async fn suspend(&self) -> Result<(), StoreError> {
        let known_since = {
            let mut knowledge = self.knowledge.lock().await;
            let now = Instant::now();
            match &knowledge.known {
                Some(Known {
                    suspended_until: Some(until), suspended_since: Some(since), ..
                }) if *until > now + MARGIN => *since,
                _ => {
                    let guard =
                        cache_guard::suspend(&mut *self.store.connection().await?, SUSPENSION)
                            .await?;
                    let since = Instant::now();
                    knowledge.known =
                        Some(Known { suspended_since: Some(since), ..understood(&guard, now) });
                    since
                }
            }
        };
        tokio::time::sleep_until((known_since + FRESH).into()).await;
        Ok(())
    }

    /// What is known of the guard, asked for again if it is not fresh; `None` if it can't be.
    async fn known(&self) -> Option<Known> {
        let mut knowledge = self.knowledge.lock().await;
        let now = Instant::now();
        if let Some(known) = knowledge.known.as_ref().filter(|k| k.fresh(now)) {
            return Some(known.clone());
        }
        // Those who waited for a question that failed don't ask the same again, one by one.
        if knowledge.failed_at.is_some_and(|at| now.duration_since(at) < FRESH) {
            return None;
        }
        let guard = match self.store.connection().await {
            Ok(mut connection) => cache_guard::read(&mut connection).await,
            Err(error) => Err(error),
        };
        knowledge.failed_at = guard.is_err().then(Instant::now);
        knowledge.known = guard.ok().map(|guard| understood(&guard, now));
        knowledge.known.clone()
    }
}

/// `asked` is from before the question: no younger than the answer.
fn understood(guard: &cache_guard::Guard, asked: Instant) -> Known {
    let suspended = u64::try_from(guard.suspended_ms).unwrap_or_default();
    let now = Instant::now();
    Known {
        keyspace: Keyspace::new(&guard.identity, guard.epoch),
        as_of: asked,
        suspended_until: (suspended > 0).then(|| now + Duration::from_millis(suspended)),
        suspended_since: (suspended > 0).then_some(now),
    }
}
