//! Limits how much one caller may have going on at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// At most `each` permits at a time for each key. Other callers wait, in the order of their
/// arrival, and leave the queue by dropping the future.
pub struct KeyedSemaphore<K: Eq + Hash + Clone> {
    each: usize,
    taken: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
}

/// A permit. Dropping it lets the next caller of the same key go on.
pub struct KeyedPermit<K: Eq + Hash + Clone> {
    // Dropped before `Key`, whose drop looks whether others still use the semaphore.
    _permit: OwnedSemaphorePermit,
    _key: Key<K>,
}

/// Removes a key that nobody uses any more.
struct Key<K: Eq + Hash + Clone> {
    key: K,
    semaphore: Option<Arc<Semaphore>>,
    taken: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
}

impl<K: Eq + Hash + Clone> KeyedSemaphore<K> {
    /// At most `each` permits at a time for each key.
    pub fn new(each: usize) -> KeyedSemaphore<K> {
        KeyedSemaphore { each, taken: Arc::default() }
    }

    /// Waits for a permit for this key. `None` only if the runtime goes down.
    pub async fn take(&self, key: K) -> Option<KeyedPermit<K>> {
        let semaphore = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(Semaphore::new(self.each));
            Arc::clone(taken.entry(key.clone()).or_insert_with(fresh))
        };
        let key =
            Key { key, semaphore: Some(Arc::clone(&semaphore)), taken: Arc::clone(&self.taken) };
        let permit = semaphore.acquire_owned().await.ok()?;
        Some(KeyedPermit { _permit: permit, _key: key })
    }

    /// How many keys are in use.
    #[cfg(test)]
    fn keys(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

impl<K: Eq + Hash + Clone> Drop for Key<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Drop ours first: what is left is the map's own, or belongs to others.
        self.semaphore = None;
        if taken.get(&self.key).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            taken.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn each_key_has_its_turns_and_is_forgotten_after_them() {
        let limiter = KeyedSemaphore::new(1);
        let first = limiter.take("a").await;
        let waits = limiter.take("a");
        tokio::pin!(waits);
        assert!(waits.as_mut().now_or_never().is_none());
        // Other keys don't wait for it.
        drop(limiter.take("b").now_or_never().unwrap());
        drop(first);
        let second = waits.await;
        assert_eq!(limiter.keys(), 1);
        // A caller that gives up waiting is gone as well.
        assert!(limiter.take("a").now_or_never().is_none());
        drop(second);
        assert_eq!(limiter.keys(), 0);
    }
}
