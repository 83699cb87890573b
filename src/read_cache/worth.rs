//! Whether cache lookups pay.
//!
//! Where hardly anything is read twice, as when a client walks through all tasks, each lookup is a
//! wasted round trip, and each fill is another. Then most reads go straight to the database, which
//! is always right, and one in a few still looks. When enough of these samples hit, all reads use
//! the cache again.

use std::sync::{Mutex, PoisonError};

/// The hit rate is judged after this many lookups.
const JUDGED: u32 = 256;
/// Lookups pay if at least one in this many hits.
const ONE_OF: u32 = 16;
/// While lookups don't pay, one in this many reads still looks; the hit rate of these samples is
/// judged after [`SAMPLES_JUDGED`] of them.
const SAMPLED: u32 = 8;
const SAMPLES_JUDGED: u32 = 32;

/// The hit rate of one kind of scope. See the module.
#[derive(Default)]
pub(super) struct Worth(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether the last judgement was that lookups don't pay.
    poor: bool,
    /// Reads since the last judgement, counted while lookups don't pay.
    reads: u32,
    looks: u32,
    hits: u32,
}

impl Worth {
    /// Whether this read should look into the cache.
    pub(super) fn look(&self) -> bool {
        let mut state = self.state();
        if !state.poor {
            return true;
        }
        state.reads = state.reads.wrapping_add(1);
        state.reads.is_multiple_of(SAMPLED)
    }

    /// Counts the result of a lookup.
    pub(super) fn looked(&self, hit: bool) {
        let mut state = self.state();
        state.looks += 1;
        state.hits += u32::from(hit);
        let judged = if state.poor { SAMPLES_JUDGED } else { JUDGED };
        if state.looks >= judged {
            let poor = state.hits < state.looks / ONE_OF;
            *state = State { poor, ..State::default() };
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `reads` look into the cache, if `hot` in a hundred of them would hit.
    fn looks(worth: &Worth, reads: u32, hot: u32) -> u32 {
        let mut looks = 0;
        for read in 0..reads {
            if worth.look() {
                looks += 1;
                worth.looked(read * 37 % 100 < hot);
            }
        }
        looks
    }

    #[test]
    fn who_finds_something_now_and_then_looks_always() {
        let worth = Worth::default();
        for hot in [100, 50, 20, 10] {
            assert_eq!(looks(&worth, 10_000, hot), 10_000, "{hot}");
        }
    }

    #[test]
    fn who_finds_nothing_looks_seldom_and_soon_again_if_there_is_something() {
        let worth = Worth::default();
        let seldom = looks(&worth, 10_000, 0);
        assert!(seldom < JUDGED + 10_000 / SAMPLED + 2, "{seldom}");
        let again = looks(&worth, 10_000, 100);
        assert!(again > 10_000 - SAMPLED * (SAMPLES_JUDGED + 2), "{again}");
    }
}
