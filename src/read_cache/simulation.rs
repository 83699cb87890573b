//! Two processes, a database and a Redis, simulated in one thread with a clock of its own. In every
//! interleaving, however long each step takes and whatever Redis evicts, a read that begins after a
//! write was answered sees that write. A protocol with any of the flaws of [`Flaw`] fails this.

mod flaws;
mod steps;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::flaws::Flaw;
use self::world::{Counts, Event, World};
use crate::cache::BAR;

/// How many steps a run has.
const STEPS: usize = 200;
/// No more writes and reads are under way, so that each has its turn soon.
const UNDER_WAY: usize = 6;

/// What happens next, made of two numbers.
fn event(kind: u32, which: usize) -> Event {
    match kind % 100 {
        0..8 => Event::Write(which % 2),
        8..10 => Event::WriteWithoutBar,
        10..22 => Event::Read,
        22..24 => Event::LoseBars,
        24..26 => Event::LoseGeneration,
        _ => Event::Step(which),
    }
}

/// Most steps take less than a millisecond, a few about as long as a bar.
fn takes(number: u32) -> Duration {
    let most = if number.is_multiple_of(32) { 2 * BAR } else { Duration::from_millis(1) };
    most.mul_f64(f64::from(number) / f64::from(u32::MAX))
}

fn run(steps: &[(u32, usize, u32)], flaw: Option<Flaw>) -> Result<Counts, String> {
    let mut world = World::new(flaw);
    for (kind, which, time) in steps {
        world.pass(takes(*time));
        world.happen(event(*kind, *which), UNDER_WAY)?;
    }
    Ok(world.counts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_read_that_begins_after_an_answer_misses_it(
        steps in prop::collection::vec(any::<(u32, usize, u32)>(), STEPS)
    ) {
        run(&steps, None).map_err(TestCaseError::fail)?;
    }
}

/// Random runs, always the same.
fn runs() -> impl Iterator<Item = Vec<(u32, usize, u32)>> {
    let mut random = StdRng::seed_from_u64(1);
    std::iter::repeat_with(move || {
        (0..STEPS)
            .map(|_| (random.random(), random.random::<u64>() as usize, random.random()))
            .collect()
    })
}

#[test]
fn every_flaw_is_found() {
    const RUNS: usize = 200_000;
    for flaw in Flaw::ALL {
        let found = runs().take(RUNS).position(|steps| run(&steps, Some(flaw)).is_err());
        println!("{flaw:?}: {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found");
    }
}

/// Makes sure that the tests above test something.
#[test]
fn in_the_runs_much_is_filled_and_hit_and_bars_end_in_every_way() {
    let mut sum = Counts::default();
    for steps in runs().take(2_000) {
        sum += run(&steps, None).unwrap();
    }
    let least = [sum.hits, sum.fills, sum.barred, sum.shared, sum.slow, sum.remade, sum.lifted];
    assert!(least.iter().all(|count| *count > 200), "{sum:?}");
}
