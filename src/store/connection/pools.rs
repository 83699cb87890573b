//! The pools of a process whose threads have connections of their own.

use std::sync::Arc;

use crate::store::PostgresUrl;
use crate::store::connection::pool::{PoolStatus, Store};

/// The smallest share of the pool that is given to a thread of its own: with fewer connections, a
/// few slow queries would keep all others of the thread waiting.
const LEAST_SHARE: usize = 4;

/// All connections of a process to the database. It can't be asked for one: threads have a
/// [`Store`] each, and the others share one.
#[derive(Clone)]
pub struct Pools {
    shared: Store,
    of_threads: Arc<[Store]>,
}

impl Pools {
    /// For a process that serves with `threads` threads, each with a runtime of its own. Three
    /// quarters of the connections are divided among the threads. A thread's connections are served
    /// in that thread, so its queries need no cross-thread wake-ups. If the shares would be too
    /// small, all threads use one pool.
    ///
    /// # Errors
    /// Never for a size above zero.
    pub fn divided(url: &PostgresUrl, size: usize, threads: usize) -> anyhow::Result<Pools> {
        let share = size * 3 / 4 / threads.max(1);
        if share < LEAST_SHARE {
            return Ok(Pools::from(Store::new(url, size)?));
        }
        let shared = Store::new(url, size - threads * share)?;
        let of_threads: anyhow::Result<Vec<Store>> =
            (0..threads).map(|_| shared.beside(url, share)).collect();
        Ok(Pools { shared, of_threads: of_threads?.into() })
    }

    /// The connections that belong to no thread.
    pub fn shared(&self) -> &Store {
        &self.shared
    }

    /// The connections of one thread, counted from zero; `None` if it has none of its own.
    pub fn of_thread(&self, thread: usize) -> Option<&Store> {
        self.of_threads.get(thread)
    }

    /// How many connections there are in all, and how many are in use.
    pub fn status(&self) -> PoolStatus {
        let mut sum = PoolStatus { size: 0, limit: 0, available: 0, waiting: 0 };
        for status in [&self.shared].into_iter().chain(self.of_threads.iter()).map(Store::status) {
            sum.size += status.size;
            sum.limit += status.limit;
            sum.available += status.available;
            sum.waiting += status.waiting;
        }
        sum
    }
}

impl From<Store> for Pools {
    /// One pool, which all threads use.
    fn from(shared: Store) -> Pools {
        Pools { shared, of_threads: Arc::new([]) }
    }
}
