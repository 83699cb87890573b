//! What is simulated: what Redis and the processes have, and who is under way.

use std::ops::AddAssign;
use std::time::Duration;

use super::flaws::Flaw;
use crate::cache::{BAR, JOINED_FOR};

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    /// A write begins in this process.
    Write(usize),
    /// A write begins whose scopes only its statement tells.
    WriteWithoutBar,
    Read,
    /// One of those under way takes a step. The number says which, and which step if there are
    /// several.
    Step(usize),
    /// Redis evicts the bars.
    LoseBars,
    LoseGeneration,
}

/// A bar as its writers know it. Its name is its index in the world.
pub(super) struct OwnBar {
    pub(super) process: usize,
    pub(super) asked: Option<Duration>,
    pub(super) acknowledged: bool,
    /// The writes that have not ended.
    pub(super) under_way: usize,
}

/// Who is under way, and what is next.
#[derive(Debug, Clone)]
pub(super) enum Doing {
    /// Statement and bar run at the same time. The statement has committed this version, or, if it
    /// failed, none.
    Writing {
        bar: Option<usize>,
        statement: Option<Option<u64>>,
    },
    /// Asks Redis for a new generation after the commit, and is answered then.
    Ending {
        bar: Option<usize>,
        version: u64,
    },
    /// The set of this bar's name, or its removal, is on its way to Redis.
    Setting(usize),
    Lifting(usize),
    /// Reads the generation and the entry; this version had been answered when the read began.
    ReadGeneration {
        answered: u64,
        again: bool,
    },
    /// Reads the bars, under this generation.
    ReadBars {
        answered: u64,
        again: bool,
        generation: Option<u64>,
    },
    /// Makes what it has not found.
    Make {
        answered: u64,
    },
    /// Steps of flawed readers.
    MakeAndLoad,
    ReadBarsFirst {
        answered: u64,
    },
    ReadGenerationThen {
        answered: u64,
    },
    Load {
        generation: u64,
    },
    Fill {
        generation: u64,
        version: u64,
    },
}

#[derive(Debug, Default)]
pub struct Counts {
    pub hits: u64,
    pub fills: u64,
    pub barred: u64,
    pub shared: u64,
    pub slow: u64,
    pub remade: u64,
    pub lifted: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.hits += other.hits;
        self.fills += other.fills;
        self.barred += other.barred;
        self.shared += other.shared;
        self.slow += other.slow;
        self.remade += other.remade;
        self.lifted += other.lifted;
    }
}

pub struct World {
    pub(super) flaw: Option<Flaw>,
    pub(super) now: Duration,
    /// The version that was committed last, and the last that was answered.
    pub(super) committed: u64,
    pub(super) answered: u64,
    /// What Redis has: the generation, the bars with their ends, and the last fill.
    pub(super) generation: Option<u64>,
    pub(super) bars: Option<Vec<(Option<usize>, Duration)>>,
    pub(super) entry: Option<(u64, u64)>,
    /// How many generations there have been.
    pub(super) generations: u64,
    pub(super) own: Vec<OwnBar>,
    pub(super) under_way: Vec<Doing>,
    pub counts: Counts,
}

impl World {
    pub fn new(flaw: Option<Flaw>) -> World {
        World {
            flaw,
            now: Duration::ZERO,
            committed: 0,
            answered: 0,
            generation: None,
            bars: None,
            entry: None,
            generations: 0,
            own: Vec::new(),
            under_way: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Nothing new begins while as many as `most` are under way.
    ///
    /// # Errors
    /// A read has missed a write.
    pub fn happen(&mut self, event: Event, most: usize) -> Result<(), String> {
        let full = self.under_way.len() >= most;
        match event {
            Event::Write(_) | Event::WriteWithoutBar | Event::Read if full => {}
            Event::Write(process) => {
                let bar = self.bar_of(process);
                self.under_way.push(Doing::Writing { bar: Some(bar), statement: None });
            }
            Event::WriteWithoutBar => {
                self.under_way.push(Doing::Writing { bar: None, statement: None });
            }
            Event::Read => {
                let answered = self.answered;
                self.under_way.push(match self.has(Flaw::BarsReadFirst) {
                    true => Doing::ReadBarsFirst { answered },
                    false => Doing::ReadGeneration { answered, again: false },
                });
            }
            Event::LoseBars => self.bars = None,
            Event::LoseGeneration => {
                self.generation = None;
                if self.has(Flaw::GenerationsRepeat) {
                    self.generations = 0;
                }
            }
            Event::Step(which) if !self.under_way.is_empty() => {
                let (index, count) = (which % self.under_way.len(), self.under_way.len());
                let doing = self.under_way.swap_remove(index);
                let next = self.step(doing, which / count)?;
                self.under_way.extend(next);
            }
            Event::Step(_) => {}
        }
        Ok(())
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// A bar of this process that was not asked for yet, or under which writes are still under way,
    /// or a new one.
    fn bar_of(&mut self, process: usize) -> usize {
        let now = self.now;
        let waits = |bar: &OwnBar| {
            let joins = |asked| bar.acknowledged && bar.under_way > 0 && now < asked + JOINED_FOR;
            bar.process == process && bar.asked.is_none_or(joins)
        };
        if let Some(index) = self.own.iter().position(waits) {
            self.own[index].under_way += 1;
            self.counts.shared += 1;
            return index;
        }
        self.own.push(OwnBar { process, asked: None, acknowledged: false, under_way: 1 });
        self.own.len() - 1
    }

    pub(super) fn new_generation(&mut self) {
        self.generations += 1;
        self.generation = Some(self.generations);
    }

    pub(super) fn make_bars(&mut self, by_writer: bool) {
        if self.bars.is_none() {
            let without = self.has(Flaw::NoBarAfterLoss)
                || (by_writer && self.has(Flaw::NoBarAfterLossByWriter));
            self.bars = Some(if without { Vec::new() } else { vec![(None, self.now + BAR)] });
            self.counts.remade += 1;
        }
    }

    pub(super) fn barred(&self) -> bool {
        let on = |bars: &Vec<(Option<usize>, Duration)>| bars.iter().any(|(_, e)| *e > self.now);
        !self.has(Flaw::FillsUnderBar) && self.bars.as_ref().is_none_or(on)
    }
}
