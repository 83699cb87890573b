//! Whether looking into the cache pays.
//!
//! Where hardly anything is asked for twice, as by somebody who walks through all there is, each look is a
//! round trip for nothing, and each fill one more. Then most reads go straight to the database, which is always
//! right, and a few go on looking: if they find something, the cache is worth it again.

use std::sync::{Mutex, PoisonError};

/// How many looks are judged together.
const JUDGED: u32 = 256;
/// Looks pay if one of so many finds something.
const ONE_OF: u32 = 16;
/// While they don't, one of so many reads looks, and so few looks are judged together.
const SAMPLED: u32 = 8;
const SAMPLES_JUDGED: u32 = 32;

/// See the module.
#[derive(Default)]
pub(super) struct Worth(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether it was found that looking doesn't pay.
    poor: bool,
    /// Reads since it was.
    reads: u32,
    looks: u32,
    hits: u32,
}

impl Worth {
    /// Whether this read should look.
    pub(super) fn look(&self) -> bool {
        let mut state = self.state();
        if !state.poor {
            return true;
        }
        state.reads = state.reads.wrapping_add(1);
        state.reads.is_multiple_of(SAMPLED)
    }

    /// One has looked.
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

    /// How many of so many reads look, if each of `hot` in a hundred is one that would find something.
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
