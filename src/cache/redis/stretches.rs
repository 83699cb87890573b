//! Stretches: a busy process changes the generation of the lists once for many writes.
//!
//! A process that writes all the time would set a new generation for each write: a round trip each,
//! and no entry would live long enough to be hit. So it begins a stretch, which is a new
//! generation, and its writes in the next [`COVERED`] set none: the stretch covers them. In return
//! no reader fills an entry under a generation before it has known the generation's stretch for
//! [`COVERED`]. By then the last write that the stretch covers is committed, and what is read from
//! the database has it.
//!
//! Why that is enough: let a write commit within the [`COVERED`] that began when its process asked
//! for a stretch. Entries filled under generations from before that stretch are not found any more.
//! Any later generation belongs to that stretch or to a later one. A reader that fills an entry
//! under it has known its stretch for [`COVERED`] before reading the database, which is longer than
//! the write had. Every clock here is one process's own and only measures durations. A generation
//! that Redis has dropped is replaced by one of a new stretch, so nothing depends on what Redis
//! keeps, or for how long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a stretch covers writes, and how long a reader must have known it before a fill.
pub(super) const COVERED: Duration = Duration::from_millis(5);
/// A process is busy if its last [`BUSY_WRITES`] writes came within [`BUSY_WITHIN`]: 500 a second
/// or more. With fewer writes, readers still get hits under each generation.
const BUSY_WRITES: usize = 8;
const BUSY_WITHIN: Duration = Duration::from_millis(16);
/// A reader is told to wait at most once in this time.
const BETWEEN_WAITS: Duration = Duration::from_millis(100);

/// What one process knows of the stretches of one scope. Callers pass in the time.
#[derive(Default)]
pub(super) struct Stretches(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last writes were, oldest first.
    recent: VecDeque<Instant>,
    covered_until: Option<Instant>,
    /// The stretch that was seen last, and when it was first seen.
    known: Option<(String, Instant)>,
    /// When a reader was last told to wait.
    waited: Option<Instant>,
}

/// What a write has to do before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: a stretch covers it.
    Nothing,
    /// Set a new generation within the present stretch.
    Generation,
    /// Begin a stretch, and then call [`begun`](Stretches::begun).
    Stretch,
}

/// Whether an entry may be filled under a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It may.
    Yes,
    /// It may after this time. A reader is told to wait only now and then: the first to read after
    /// some writes then fills an entry, but readers that come steadily between writes don't all
    /// wait.
    After(Duration),
    /// Not yet.
    No,
}

impl Stretches {
    /// Called by a write that was committed before `now`.
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

    /// A stretch was asked for at `asked` and has begun by `now`. It covers this process's writes
    /// until [`COVERED`] after `asked`.
    pub(super) fn begun(&self, stretch: &str, asked: Instant, now: Instant) {
        let mut state = self.state();
        state.covered_until = state.covered_until.max(Some(asked + COVERED));
        state.known = Some((stretch.to_owned(), now));
    }

    /// Whether an entry may be filled under a generation of this stretch, which was read at `now`.
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
        // The first reader waits; others that come in the meantime don't.
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
