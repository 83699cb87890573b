//! What a process has in hand at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many deliveries or requests a process has in hand, and when it last finished one. Clones
/// count together.
#[derive(Debug, Clone)]
pub struct Load(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    began: Instant,
    in_hand: AtomicI64,
    /// Milliseconds after `began`, plus one; 0 is never.
    finished: AtomicU64,
}

impl Default for Load {
    fn default() -> Load {
        let (in_hand, finished) = (AtomicI64::new(0), AtomicU64::new(0));
        Load(Arc::new(Counts { began: Instant::now(), in_hand, finished }))
    }
}

impl Load {
    /// Takes one in hand, until the guard is dropped.
    pub fn begin(&self) -> InHand {
        let taken = InHand { load: self.clone(), count: AtomicI64::new(0) };
        taken.add(1);
        taken
    }

    /// Takes none yet.
    pub fn none(&self) -> InHand {
        InHand { load: self.clone(), count: AtomicI64::new(0) }
    }

    /// How many there are in hand.
    pub fn in_hand(&self) -> i64 {
        self.0.in_hand.load(Ordering::Relaxed)
    }

    /// How long ago the last one was finished; `None` if none ever was.
    pub fn finished_ago(&self) -> Option<Duration> {
        let finished = self.0.finished.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.0.began.elapsed().saturating_sub(Duration::from_millis(finished)))
    }
}

/// What one user of a [`Load`] has in hand. What is left when this is dropped was given up.
#[derive(Debug)]
pub struct InHand {
    load: Load,
    count: AtomicI64,
}

impl InHand {
    /// Takes so many more.
    pub fn add(&self, count: i64) {
        self.count.fetch_add(count, Ordering::Relaxed);
        self.load.0.in_hand.fetch_add(count, Ordering::Relaxed);
    }

    /// Has finished so many.
    pub fn finish(&self, count: i64) {
        self.add(-count);
        let elapsed = u64::try_from(self.load.0.began.elapsed().as_millis()).unwrap_or_default();
        self.load.0.finished.store(elapsed.saturating_add(1), Ordering::Relaxed);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let left = *self.count.get_mut();
        self.load.0.in_hand.fetch_sub(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_not_in_hand_and_not_finished() {
        let load = Load::default();
        let (one, several) = (load.begin(), load.none());
        several.add(3);
        assert_eq!((load.in_hand(), load.finished_ago()), (4, None));
        drop(one);
        assert_eq!((load.in_hand(), load.finished_ago()), (3, None));
        several.finish(2);
        assert_eq!(load.in_hand(), 1);
        assert!(load.finished_ago().unwrap() < Duration::from_secs(10));
        drop(several);
        assert_eq!(load.in_hand(), 0);
    }
}
