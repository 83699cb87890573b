//! Two processes, a database and a Redis in one thread and a time of their own: whatever comes between what, and
//! however long anything takes, no read that begins after an answer misses what was answered.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{COVERED, Settled, Step, Stretches};

/// What goes on in a process. Each step of it is one of these.
#[derive(Debug, Clone)]
enum Doing {
    /// The database is told to write.
    Writing,
    /// It has written this version.
    Committed(u64),
    /// Redis is told to begin a generation; the answer is for this version.
    Beginning(u64, Step, Instant),
    /// It has begun this one, of a stretch that was asked for then.
    Begun(u64, Option<(u64, Instant)>),
    /// Redis is asked; what was answered before has this version.
    Looking(u64),
    /// It waits until something may be put under this generation.
    Waiting((u64, u64), Instant),
    /// The database is asked, for what goes under this generation.
    Loading((u64, u64)),
    /// It has said this.
    Loaded((u64, u64), u64),
}

#[derive(Default)]
struct World {
    /// The version that is committed, and the last that was answered.
    committed: u64,
    answered: u64,
    /// The generation, of a stretch and a number in it.
    generation: Option<(u64, u64)>,
    /// What was filled in last, under which generation.
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

    /// The next step of something, which may be its last.
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

/// What happens next: something begins, in one of the processes, or one step is taken, or Redis forgets.
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
    // Most things take a fraction of a millisecond, some a few.
    let microseconds = prop_oneof![200 => 0..50_u64, 1 => 0..6_000_u64];
    prop::collection::vec((event, microseconds), 0..2_000)
}

/// Runs it, and returns what has happened.
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

/// The test above is worth something: there is much that is covered, and much that is found.
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
