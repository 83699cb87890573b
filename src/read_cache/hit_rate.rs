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
pub(super) struct HitRate(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// Whether the last judgement was that lookups don't pay.
    poor: bool,
    /// Reads since the last judgement, counted while lookups don't pay.
    reads: u32,
    looks: u32,
    hits: u32,
}

impl HitRate {
    /// Whether this read should look into the cache.
    pub(super) fn allows_lookup(&self) -> bool {
        let mut counts = self.counts();
        if !counts.poor {
            return true;
        }
        counts.reads = counts.reads.wrapping_add(1);
        counts.reads.is_multiple_of(SAMPLED)
    }

    /// Counts the result of a lookup.
    pub(super) fn record(&self, hit: bool) {
        let mut counts = self.counts();
        counts.looks += 1;
        counts.hits += u32::from(hit);
        let judged = if counts.poor { SAMPLES_JUDGED } else { JUDGED };
        if counts.looks >= judged {
            let poor = counts.hits < counts.looks / ONE_OF;
            *counts = Counts { poor, ..Counts::default() };
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `reads` look into the cache, if `hot` in a hundred of them would hit.
    fn looks(hit_rate: &HitRate, reads: u32, hot: u32) -> u32 {
        let mut looks = 0;
        for read in 0..reads {
            if hit_rate.allows_lookup() {
                looks += 1;
                hit_rate.record(read * 37 % 100 < hot);
            }
        }
        looks
    }

    #[test]
    fn who_finds_something_now_and_then_looks_always() {
        let hit_rate = HitRate::default();
        for hot in [100, 50, 20, 10] {
            assert_eq!(looks(&hit_rate, 10_000, hot), 10_000, "{hot}");
        }
    }

    #[test]
    fn who_finds_nothing_looks_seldom_and_soon_again_if_there_is_something() {
        let hit_rate = HitRate::default();
        let seldom = looks(&hit_rate, 10_000, 0);
        assert!(seldom < JUDGED + 10_000 / SAMPLED + 2, "{seldom}");
        let again = looks(&hit_rate, 10_000, 100);
        assert!(again > 10_000 - SAMPLED * (SAMPLES_JUDGED + 2), "{again}");
    }
}
