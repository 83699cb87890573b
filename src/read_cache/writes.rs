//! Writes that set a bar while their statement runs.
//!
//! Why a bar is enough: let a write set its bar and a new generation at one moment. A reader that
//! saw the generation from before fills where nobody looks. A reader that saw the new one and no
//! bar came after the bar was lifted, and so after the commit; or the bar had ended by itself. Then
//! the write took longer than a writer relies on its bar, and it ends the generation again after
//! its commit. A bar that the cache has lost with its memory is followed by another that ends no
//! earlier. `simulation` tries to break this.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use super::{AT_ONCE, Handles, Inner, ReadCache};
use crate::cache::{Bar, JOINED_FOR, RELIED_ON, Scope};
use crate::ground::batcher::Batcher;

/// A bar that several writes of one process share. The last of them to end lifts it.
pub(super) struct SharedBar {
    bar: Bar,
    scopes: Vec<Scope>,
    /// From before the cache was asked for it.
    asked: Instant,
    /// How many of the writes have not ended. A write that is dropped never ends: its statement may
    /// still be committed, so the bar then stays for its whole time.
    under_way: AtomicUsize,
}

impl SharedBar {
    /// Takes one more write of these scopes under the bar, if it is on them, is still there, and
    /// will be for long enough.
    fn join(&self, scopes: &[Scope]) -> bool {
        let more = |writes: usize| (writes > 0).then_some(writes + 1);
        self.asked.elapsed() < JOINED_FOR
            && scopes.iter().all(|scope| self.scopes.contains(scope))
            && self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn relied_on(&self, now: Instant) -> bool {
        now.duration_since(self.asked) < RELIED_ON
    }
}

impl ReadCache {
    /// Runs the write of these scopes with a bar on them, and makes all that is cached of them
    /// unreachable for every process before it returns. `committed` says whether the write may have
    /// changed anything. Nothing here waits for the cache after the commit, unless the cache fails
    /// or the write is slow. The write must give its database connection back itself.
    pub async fn write<T>(
        &self,
        scopes: Vec<Scope>,
        write: impl Future<Output = T>,
        committed: impl FnOnce(&T) -> bool,
    ) -> T {
        let Some(handles) = &self.handles else { return write.await };
        // Asked first: the write begins under the bar that it joins.
        let (bar, written) = tokio::join!(biased; handles.bar(&scopes), write);
        let barred = bar.as_ref().is_some_and(|bar| bar.relied_on(Instant::now()));
        if !barred && committed(&written) {
            self.invalidate(scopes).await;
        }
        if let Some(bar) = bar.filter(|bar| bar.under_way.fetch_sub(1, Ordering::AcqRel) == 1) {
            let lifts = handles.lifts.clone();
            tokio::spawn(async move { lifts.call(bar).await });
        }
        written
    }
}

impl Handles {
    /// A bar on these scopes: the last one if writes are still under way under it, else a new one.
    async fn bar(&self, scopes: &[Scope]) -> Option<Arc<SharedBar>> {
        if let Some(bar) = self.latest().clone().filter(|bar| bar.join(scopes)) {
            return Some(bar);
        }
        let bar = self.bars.call(scopes.to_vec()).await.flatten();
        self.latest().clone_from(&bar);
        bar
    }

    fn latest(&self) -> MutexGuard<'_, Option<Arc<SharedBar>>> {
        self.latest_bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets bars. One for each batch.
pub(super) fn bars(inner: &Arc<Inner>) -> Batcher<Vec<Scope>, Option<Arc<SharedBar>>> {
    let inner = Arc::clone(inner);
    Batcher::start(AT_ONCE, move |writes: Vec<Vec<Scope>>| {
        let inner = Arc::clone(&inner);
        async move {
            let count = writes.len();
            let mut scopes = writes.concat();
            scopes.sort_unstable();
            scopes.dedup();
            vec![inner.bar(scopes, count).await.map(Arc::new); count]
        }
    })
}

/// Lifts bars, those of a batch in one round trip.
pub(super) fn lifts(inner: &Arc<Inner>) -> Batcher<Arc<SharedBar>, ()> {
    let inner = Arc::clone(inner);
    Batcher::start(AT_ONCE, move |bars: Vec<Arc<SharedBar>>| {
        let inner = Arc::clone(&inner);
        async move {
            inner.lift(&bars).await;
            vec![(); bars.len()]
        }
    })
}

impl Inner {
    /// Sets a bar for this many writes; `None` if the cache can't be used.
    async fn bar(&self, scopes: Vec<Scope>, writes: usize) -> Option<SharedBar> {
        if self.broken() {
            return None;
        }
        let asked = Instant::now();
        // If others begin a new epoch now, it can't be used until nobody relies on this bar: a
        // suspension is longer.
        let keyspace = self.guard.usable().await?;
        let bar = self.cache.bar(&keyspace, &scopes).await;
        let bar = bar.map_err(|error| self.failed(&error)).ok()?;
        Some(SharedBar { bar, scopes, asked, under_way: AtomicUsize::new(writes) })
    }

    async fn lift(&self, bars: &[Arc<SharedBar>]) {
        let lifted: Vec<&Bar> = bars.iter().map(|shared| &shared.bar).collect();
        match self.cache.lift(&lifted).await {
            Ok(true) => {}
            // A bar has ended before its time: the cache has lost it, or a clock was set. Nobody
            // should have filled anything in between, but should somebody have, it ends here.
            Ok(false) => {
                let mut scopes: Vec<Scope> =
                    bars.iter().flat_map(|shared| shared.scopes.clone()).collect();
                scopes.sort_unstable();
                scopes.dedup();
                self.invalidate(scopes).await;
            }
            Err(error) => self.failed(&error),
        }
    }
}
