//! Stretches of writes: one generation stands for what follows it for a moment.
//!
//! A process that writes all the time would begin a generation for each write, a round trip each, and
//! nobody would find anything under any of them. So it begins a stretch with one of them, and its writes of
//! the next [`COVERED`] begin no generation. In return nobody puts anything under a generation before
//! having known its stretch for as long: then the last write that the stretch stands for is committed, and what
//! is read from there on has it.
//!
//! Why that is enough: let a write commit within the [`COVERED`] that began when its process asked for a stretch.
//! What was put under generations from before that stretch is not found any more. Any generation after is of that
//! stretch or a later one; whoever puts something under it has known that stretch for [`COVERED`], which is
//! longer than the write had, before reading the database. Every clock in this is one process's own, and
//! measures a length. A generation that Redis has dropped is replaced by one of a stretch of its own, so
//! nothing hangs on what Redis keeps, nor for how long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a stretch stands for writes, and for how long a reader must have known it.
pub(super) const COVERED: Duration = Duration::from_millis(5);
/// A process is busy that has written so often within [`BUSY_WITHIN`]: 500 times a second and more. Others'
/// readers have something from each generation.
const BUSY_WRITES: usize = 8;
const BUSY_WITHIN: Duration = Duration::from_millis(16);
/// How often a reader waits at most.
const BETWEEN_WAITS: Duration = Duration::from_millis(100);

/// What one process knows of the stretches of one scope. Each method is told the time.
#[derive(Default)]
pub(super) struct Stretches(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last writes were, oldest first.
    recent: VecDeque<Instant>,
    covered_until: Option<Instant>,
    /// The stretch that was seen last, and since when.
    known: Option<(String, Instant)>,
    /// When a reader was last told to wait.
    waited: Option<Instant>,
}

/// What a write has to do before its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is covered.
    Nothing,
    /// Begin a generation, in whichever stretch there is.
    Generation,
    /// Begin a stretch, and say when it was [`begun`](Stretches::begun).
    Stretch,
}

/// Whether something may be put under a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It may.
    Yes,
    /// It may after this time. Only now and then is a reader told to wait, so that the first to read after some
    /// writes puts something there, and those who read all the time between writes don't wait all the time.
    After(Duration),
    /// Not yet.
    No,
}

impl Stretches {
    /// For a write that was committed before now.
    pub(super) fn written(&self, now: Instant) -> Step {
        let mut state = self.state();
        let busy = state.recent.len() == BUSY_WRITES
            && state.recent.pop_front().is_some_and(|first| now < first + BUSY_WITHIN);
        state.recent.push_back(now);
        match state.covered_until {
            Some(until) if now < until => Step::Nothing,
            _ if busy => Step::Stretch,
            _ => Step::Generation,
        }
    }

    /// A stretch was asked for then, and is there now. It stands for what is written from now on.
    pub(super) fn begun(&self, stretch: &str, asked: Instant, now: Instant) {
        let mut state = self.state();
        state.covered_until = state.covered_until.max(Some(asked + COVERED));
        state.known = Some((stretch.to_owned(), now));
    }

    /// Whether something may be put under a generation of this stretch, which is seen now.
    pub(super) fn settled(&self, stretch: &str, now: Instant) -> Settled {
        let mut state = self.state();
        let since = match &state.known {
            Some((known, since)) if known == stretch => *since,
            _ => {
                state.known = Some((stretch.to_owned(), now));
                now
            }
        };
        let left = (since + COVERED).saturating_duration_since(now);
        if left.is_zero() {
            return Settled::Yes;
        }
        if state.waited.is_some_and(|waited| now < waited + BETWEEN_WAITS) {
            return Settled::No;
        }
        state.waited = Some(now);
        Settled::After(left)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_writes_now_and_then_begins_a_generation_each_time() {
        let (stretches, start) = (Stretches::default(), Instant::now());
        for write in 0..100 {
            assert_eq!(stretches.written(start + 3 * MS * write), Step::Generation, "{write}");
        }
    }

    #[test]
    fn who_writes_all_the_time_begins_a_stretch_now_and_then() {
        let (stretches, start) = (Stretches::default(), Instant::now());
        let mut counts = [0; 3];
        for write in 0..1_000 {
            let now = start + MS / 2 * write;
            let step = stretches.written(now);
            match step {
                Step::Generation => assert!(write < 8, "{write}"),
                Step::Stretch => stretches.begun("s", now, now),
                Step::Nothing => {}
            }
            counts[step as usize] += 1;
        }
        let [nothing, generations, begun] = counts;
        assert_eq!(generations, 8);
        assert!((90..=110).contains(&begun), "{begun}");
        assert_eq!(nothing, 1_000 - 8 - begun);
    }

    #[test]
    fn a_stretch_is_settled_once_it_has_been_known_for_long_enough() {
        let (stretches, start) = (Stretches::default(), Instant::now());
        // The first waits, the others that come meanwhile don't.
        assert_eq!(stretches.settled("a", start), Settled::After(COVERED));
        assert_eq!(stretches.settled("a", start + COVERED - MS), Settled::No);
        assert_eq!(stretches.settled("a", start + COVERED), Settled::Yes);
        assert_eq!(stretches.settled("b", start + 2 * COVERED), Settled::No);
        assert_eq!(stretches.settled("b", start + 3 * COVERED), Settled::Yes);
        let later = start + BETWEEN_WAITS;
        stretches.begun("c", later, later + MS);
        assert_eq!(stretches.settled("c", later + 3 * MS), Settled::After(COVERED - 2 * MS));
        assert_eq!(stretches.settled("c", later + COVERED), Settled::No);
        assert_eq!(stretches.settled("c", later + COVERED + MS), Settled::Yes);
    }
}
