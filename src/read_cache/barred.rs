//! Loads while a bar is up. Nothing is filled then, and a load that began before a reader came may
//! be from before a write that was answered in between. So a reader takes a load that began after
//! it came: readers that come while one load runs share the next.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Mutex;

/// The readers of one thread that wait for loads, by what they read.
#[derive(Default)]
pub(super) struct Barred(SyncMutex<HashMap<String, Arc<Line>>>);

/// The readers of one thing.
#[derive(Default)]
struct Line {
    /// Counts readers that come and loads that begin, in one order.
    order: AtomicU64,
    /// How many readers there are. Changed only while the map is locked.
    readers: AtomicUsize,
    /// The load that ended last, and when it began in that order. Held while a load runs.
    last: Mutex<Option<(u64, Bytes)>>,
}

impl Barred {
    /// What `load` reads, or what another reader's load has read that began after this call.
    ///
    /// # Errors
    /// Those of `load`.
    pub(super) async fn load<E, Fut>(
        &self,
        key: &str,
        load: impl FnOnce() -> Fut,
    ) -> Result<Bytes, E>
    where
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        let place = InLine { barred: self, key, line: self.line(key) };
        let came = place.line.order.fetch_add(1, Ordering::AcqRel);
        let mut last = place.line.last.lock().await;
        if let Some((began, body)) = &*last
            && *began > came
        {
            return Ok(body.clone());
        }
        let began = place.line.order.fetch_add(1, Ordering::AcqRel);
        let body = Bytes::from(load().await?);
        *last = Some((began, body.clone()));
        Ok(body)
    }

    fn line(&self, key: &str) -> Arc<Line> {
        let mut lines = self.lines();
        let line = lines.entry(key.to_owned()).or_default();
        line.readers.fetch_add(1, Ordering::AcqRel);
        Arc::clone(line)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place in a line. The last to leave, also one whose client has hung up, takes the line
/// away.
struct InLine<'a> {
    barred: &'a Barred,
    key: &'a str,
    line: Arc<Line>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut lines = self.barred.lines();
        if self.line.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            lines.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn who_comes_while_a_load_runs_shares_the_next_and_never_that_one() {
        let (barred, loads, gate) = (Barred::default(), AtomicU64::new(0), Notify::new());
        let read = || {
            barred.load("key", || async {
                let number = loads.fetch_add(1, Ordering::AcqRel);
                if number == 0 {
                    gate.notified().await;
                }
                Ok::<_, ()>(number.to_string().into_bytes())
            })
        };
        let first = read();
        let rest = async {
            // They come while the first load runs: it has begun when this is polled.
            let late = join_all((0..5).map(|_| read()));
            let open = async {
                assert_eq!(loads.load(Ordering::Acquire), 1);
                gate.notify_one();
            };
            tokio::join!(late, open).0
        };
        let (first, rest) = tokio::join!(first, rest);
        assert_eq!(first, Ok(Bytes::from("0")));
        assert_eq!(rest, vec![Ok(Bytes::from("1")); 5]);
        assert_eq!(loads.load(Ordering::Acquire), 2);
        assert_eq!(read().await, Ok(Bytes::from("2")), "one that comes later loads by itself");
        assert!(barred.lines().is_empty());
    }

    #[tokio::test]
    async fn who_is_behind_a_load_that_fails_loads_by_itself() {
        let (barred, loads) = (Barred::default(), AtomicU64::new(0));
        let read = || {
            barred.load("key", || async {
                tokio::task::yield_now().await;
                match loads.fetch_add(1, Ordering::AcqRel) {
                    0 => Err("away"),
                    number => Ok(number.to_string().into_bytes()),
                }
            })
        };
        let (first, second) = tokio::join!(read(), read());
        assert_eq!((first, second), (Err("away"), Ok(Bytes::from("1"))));
        assert!(barred.lines().is_empty());
    }
}
