//! The steps of writers and readers.

use super::flaws::Flaw;
use super::world::{Doing, World};
use crate::cache::{BAR, RELIED_ON};

impl World {
    pub(super) fn step(&mut self, doing: Doing, choice: usize) -> Result<Vec<Doing>, String> {
        Ok(match doing {
            Doing::Writing { bar, statement } => self.write(bar, statement, choice),
            Doing::Ending { bar, version } => {
                self.new_generation();
                self.end(bar, Some(version))
            }
            Doing::Setting(name) => {
                self.make_bars(true);
                let (now, ends) = (self.now, self.now + BAR);
                if let Some(bars) = &mut self.bars {
                    bars.retain(|(_, ends)| *ends > now);
                    bars.push((Some(name), ends));
                }
                if !self.has(Flaw::NoNewGeneration) {
                    self.new_generation();
                }
                self.own[name].acknowledged = true;
                match self.has(Flaw::LiftedTooEarly) {
                    true => vec![Doing::Lifting(name)],
                    false => Vec::new(),
                }
            }
            Doing::Lifting(name) => {
                let all = self.has(Flaw::LiftsAll);
                if let Some(bars) = &mut self.bars {
                    bars.retain(|(of, _)| !all && *of != Some(name));
                }
                self.counts.lifted += 1;
                Vec::new()
            }
            other => self.read(other)?.into_iter().collect(),
        })
    }

    /// One of what can be next for a write: its statement is done, its bar is asked for, or, when
    /// both are done, its end.
    fn write(
        &mut self,
        bar: Option<usize>,
        statement: Option<Option<u64>>,
        choice: usize,
    ) -> Vec<Doing> {
        if let Some(name) =
            bar.filter(|name| self.own[*name].asked.is_none() && choice.is_multiple_of(2))
        {
            self.own[name].asked = Some(self.now);
            return vec![Doing::Setting(name), Doing::Writing { bar, statement }];
        }
        let Some(version) = statement else {
            // One in eight fails.
            let version = (choice % 16 != 1).then(|| {
                self.committed += 1;
                self.committed
            });
            return vec![Doing::Writing { bar, statement: Some(version) }];
        };
        let Some(name) = bar else {
            return version.map(|version| Doing::Ending { bar, version }).into_iter().collect();
        };
        let own = &self.own[name];
        // A few are not acknowledged in time, and may be set or not.
        let given_up = own.asked.is_some() && !own.acknowledged && choice % 8 == 7;
        if !own.acknowledged && !given_up && !self.has(Flaw::NoWaitForBar) {
            return vec![Doing::Writing { bar, statement }];
        }
        let relied_on = own.asked.is_none_or(|asked| self.now - asked < RELIED_ON);
        match version {
            Some(version) if (given_up || !relied_on) && !self.has(Flaw::NoSecondEnd) => {
                self.counts.slow += 1;
                vec![Doing::Ending { bar: bar.filter(|_| !given_up), version }]
            }
            version => self.end(bar, version),
        }
    }

    /// The write is answered, and the last to share its bar lifts it.
    fn end(&mut self, bar: Option<usize>, version: Option<u64>) -> Vec<Doing> {
        self.answered = self.answered.max(version.unwrap_or_default());
        let Some(name) = bar else { return Vec::new() };
        self.own[name].under_way -= 1;
        let lifts = self.own[name].under_way == 0 || self.has(Flaw::FirstSharerLifts);
        if lifts { vec![Doing::Lifting(name)] } else { Vec::new() }
    }

    fn read(&mut self, doing: Doing) -> Result<Option<Doing>, String> {
        Ok(match doing {
            Doing::ReadGeneration { answered, again } => match self.hit(answered)? {
                true => None,
                false => Some(Doing::ReadBars { again, generation: self.generation, answered }),
            },
            Doing::ReadBars { answered, again, generation } => {
                let barred = self.barred();
                match generation {
                    None if !barred && self.has(Flaw::NoSecondLook) => Some(Doing::MakeAndLoad),
                    None if !again => Some(Doing::Make { answered }),
                    _ if !again && self.bars.is_none() => Some(Doing::Make { answered }),
                    _ => {
                        self.counts.barred += u64::from(barred);
                        generation.filter(|_| !barred).map(|generation| Doing::Load { generation })
                    }
                }
            }
            Doing::Make { answered } => {
                self.make_bars(false);
                self.make_generation();
                Some(Doing::ReadGeneration { answered, again: true })
            }
            Doing::MakeAndLoad => {
                self.make_generation();
                self.generation.map(|generation| Doing::Load { generation })
            }
            Doing::ReadBarsFirst { answered } => {
                (!self.barred()).then_some(Doing::ReadGenerationThen { answered })
            }
            Doing::ReadGenerationThen { answered } => match self.hit(answered)? {
                true => None,
                false => self.generation.map(|generation| Doing::Load { generation }),
            },
            Doing::Load { generation } => Some(Doing::Fill { generation, version: self.committed }),
            Doing::Fill { generation, version } => {
                // A process may have a copy of what was filled under the same generation before.
                let before = self.entry.filter(|(of, _)| *of == generation);
                let oldest = before.map_or(version, |(_, before)| before.min(version));
                self.entry = Some((generation, oldest));
                self.counts.fills += 1;
                None
            }
            other => Some(other),
        })
    }

    /// Whether there is an entry of the present generation.
    fn hit(&mut self, answered: u64) -> Result<bool, String> {
        let found = self.entry.filter(|(of, _)| self.generation == Some(*of));
        let Some((_, version)) = found else { return Ok(false) };
        if version < answered {
            return Err(format!("version {version} is read after {answered}"));
        }
        self.counts.hits += 1;
        Ok(true)
    }

    fn make_generation(&mut self) {
        if self.generation.is_none() {
            self.new_generation();
        }
    }
}
