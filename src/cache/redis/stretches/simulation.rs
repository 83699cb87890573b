//! Two processes, a database and a Redis, simulated in one thread with a clock of its own. In every
//! interleaving, and however long each step takes, a read that begins after a write was answered
//! sees that write.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{COVERED, Settled, Step, Stretches};

/// A write or a read in progress in a process. Each variant is one step.
#[derive(Debug, Clone)]
enum Doing {
    /// Ask the database to write.
    Writing,
    /// The database has written this version.
    Committed(u64),
    /// Ask Redis for a new generation. The write is of this version; the time is when it asked.
    Beginning(u64, Step, Instant),
    /// Redis has set it for this version; if it began a stretch, that stretch and when it was asked
    /// for.
    Begun(u64, Option<(u64, Instant)>),
    /// Ask Redis. This version had been answered when the read began.
    Looking(u64),
    /// Wait until this time to fill under this generation.
    Waiting((u64, u64), Instant),
    /// Ask the database, for an entry under this generation.
    Loading((u64, u64)),
    /// The database has returned this version.
    Loaded((u64, u64), u64),
}

#[derive(Default)]
struct World {
    /// The version that was committed last, and the last that was answered.
    committed: u64,
    answered: u64,
    /// The present generation: its stretch, and a number within it.
    generation: Option<(u64, u64)>,
    /// The last fill: under which generation, and which version.
    entry: Option<((u64, u64), u64)>,
    names: u64,
    hits: u64,
    uncovered: u64,
    covered: u64,
}

impl World {
    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// Runs one step; returns the next, or `None` after the last.
    fn step(&mut self, doing: Doing, process: &Stretches, now: Instant) -> Option<Doing> {
        match doing {
            Doing::Writing => {
                self.committed += 1;
                Some(Doing::Committed(self.committed))
            }
            Doing::Committed(version) => match process.written(now) {
                Step::Nothing => {
                    self.covered += 1;
                    self.answer(version)
                }
                step => {
                    self.uncovered += 1;
                    Some(Doing::Beginning(version, step, now))
                }
            },
            Doing::Beginning(version, step, asked) => {
                let number = self.name();
                let begun = match (step, self.generation) {
                    (Step::Generation, Some((stretch, _))) => {
                        self.generation = Some((stretch, number));
                        None
                    }
                    (step, _) => {
                        let stretch = self.name();
                        self.generation = Some((stretch, number));
                        (step == Step::Stretch).then_some((stretch, asked))
                    }
                };
                Some(Doing::Begun(version, begun))
            }
            Doing::Begun(version, begun) => {
                if let Some((stretch, asked)) = begun {
                    process.begun(&stretch.to_string(), asked, now);
                }
                self.answer(version)
            }
            Doing::Looking(answered) => {
                let generation = match self.generation {
                    Some(generation) => generation,
                    None => {
                        let generation = (self.name(), self.name());
                        *self.generation.insert(generation)
                    }
                };
                match self.entry {
                    Some((of, version)) if of == generation => {
                        assert!(version >= answered, "{version} is read after {answered}");
                        self.hits += 1;
                        None
                    }
                    _ => match process.settled(&generation.0.to_string(), now) {
                        Settled::Yes => Some(Doing::Loading(generation)),
                        Settled::After(wait) => Some(Doing::Waiting(generation, now + wait)),
                        Settled::No => None,
                    },
                }
            }
            Doing::Waiting(generation, until) if now < until => {
                Some(Doing::Waiting(generation, until))
            }
            Doing::Waiting(generation, _) => Some(Doing::Loading(generation)),
            Doing::Loading(generation) => Some(Doing::Loaded(generation, self.committed)),
            Doing::Loaded(generation, version) => {
                self.entry = Some((generation, version));
                None
            }
        }
    }

    fn answer(&mut self, version: u64) -> Option<Doing> {
        self.answered = self.answered.max(version);
        None
    }
}

/// What happens next: a write or a read begins in one of the processes, one in progress takes a
/// step, or Redis loses the generation.
#[derive(Debug, Clone)]
enum Event {
    Write(usize),
    Read(usize),
    Step(usize),
    Forget,
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let event = prop_oneof![
        100 => (0..2_usize).prop_map(Event::Write),
        100 => (0..2_usize).prop_map(Event::Read),
        600 => (0..64_usize).prop_map(Event::Step),
        1 => Just(Event::Forget),
    ];
    // Most steps take a fraction of a millisecond, a few take several.
    let microseconds = prop_oneof![200 => 0..50_u64, 1 => 0..6_000_u64];
    prop::collection::vec((event, microseconds), 0..2_000)
}

/// Runs the events, and returns the world after them.
fn run(events: Vec<(Event, u64)>) -> World {
    let processes = [Stretches::default(), Stretches::default()];
    let (mut world, mut now) = (World::default(), Instant::now());
    let mut under_way: Vec<(usize, Doing)> = Vec::new();
    for (event, microseconds) in events {
        now += Duration::from_micros(microseconds);
        match event {
            Event::Write(process) => under_way.push((process, Doing::Writing)),
            Event::Read(process) => under_way.push((process, Doing::Looking(world.answered))),
            Event::Forget => world.generation = None,
            Event::Step(which) if !under_way.is_empty() => {
                let (process, doing) = under_way.swap_remove(which % under_way.len());
                if let Some(next) = world.step(doing, &processes[process], now) {
                    under_way.push((process, next));
                }
            }
            Event::Step(_) => {}
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_read_that_begins_after_an_answer_misses_it(events in events()) {
        run(events);
    }
}

/// Makes sure that the test above tests something: many writes are covered, and many reads hit.
#[test]
fn a_busy_process_covers_its_writes_and_readers_find_something_in_between() {
    let write = [(Event::Write(0), 0), (Event::Step(0), 100), (Event::Step(0), 100)];
    let write = write.into_iter().chain([(Event::Step(0), 100), (Event::Step(0), 100)]);
    let read =
        [(Event::Read(1), 0), (Event::Step(0), 50), (Event::Step(0), 50), (Event::Step(0), 50)];
    let quiet = [(Event::Step(0), u64::try_from(COVERED.as_micros()).unwrap())];
    let mut events: Vec<_> = std::iter::repeat_n(write, 40).flatten().collect();
    for _ in 0..10 {
        events.extend(read.iter().cloned().chain(quiet.iter().cloned()));
    }
    let world = run(events);
    assert!(world.covered > 20 && world.hits > 5, "{} {}", world.covered, world.hits);
    assert_eq!(world.covered + world.uncovered, 40);
}
