//! The side work that events bring about.

mod email;
mod mail_limit;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::event::{Event, EventType};
use crate::store::activity;

pub use email::Email;
pub use mail_limit::MailLimit;

/// Which effects each type of event has. This is the one place that says so. A message that has failed
/// before an effect was added here never has that effect: what it has no record of counts as done.
pub fn of(event_type: EventType) -> &'static [Effect] {
    match event_type {
        EventType::TaskCreated => &[Effect::Activity, Effect::Email],
        EventType::TaskUpdated => &[Effect::Activity, Effect::Email],
        EventType::TaskDeleted => &[Effect::Activity, Effect::Email],
    }
}

/// A piece of side work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// An entry in the task's activity log: in the database, exactly once.
    Activity,
    /// A mail to the task's user: outside, under a claim.
    Email,
}

impl Effect {
    /// Every effect.
    pub const ALL: [Effect; 2] = [Effect::Activity, Effect::Email];

    /// Its name in the database, in logs, in metrics and in options.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Activity => activity::EFFECT,
            Effect::Email => "email",
        }
    }

    /// Whether there is anything to do for this event.
    pub fn applies(self, event: &Event) -> bool {
        match self {
            Effect::Activity => true,
            Effect::Email => event.payload.task.user_id.is_some(),
        }
    }
}

/// How long an effect outside the database may take. Then it is given up as failed for now; the
/// other side may have done it all the same, which is why it has a stable key.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(15);

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has happened.
    Done,
    /// There was nothing to do.
    Skipped(String),
    /// It failed for a reason that may pass.
    Transient(String),
    /// It failed for a reason that will not.
    Permanent(String),
}

impl Outcome {
    /// The metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Skipped(_) => "skipped",
            Outcome::Transient(_) => "transient",
            Outcome::Permanent(_) => "permanent",
        }
    }
}

/// Effects that are to fail at a rate, to show what happens then.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Simulation {
    rates: BTreeMap<Effect, f64>,
}

impl Simulation {
    /// An error for this effect, this time, or none.
    pub fn failure(&self, effect: Effect) -> Option<String> {
        let rate = *self.rates.get(&effect)?;
        (rand::random::<f64>() < rate).then(|| format!("simulated failure (at a rate of {rate})"))
    }

    /// Whether any effect is to fail.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }
}

impl FromStr for Simulation {
    type Err = String;

    /// Reads a list like `email=0.5,activity=0.1`.
    fn from_str(text: &str) -> Result<Simulation, String> {
        let mut rates = BTreeMap::new();
        for part in text.split(',') {
            let (name, rate) = part
                .trim()
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not of the form EFFECT=RATE"))?;
            let effect = Effect::ALL.into_iter().find(|e| e.name() == name).ok_or_else(|| {
                let names = Effect::ALL.map(Effect::name).join(", ");
                format!("there is no effect {name:?}; there are: {names}")
            })?;
            match rate.parse::<f64>() {
                Ok(rate) if (0.0..=1.0).contains(&rate) => rates.insert(effect, rate),
                _ => return Err(format!("{rate:?} is not a rate from 0 to 1")),
            };
        }
        Ok(Simulation { rates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_read_strictly() {
        let simulation: Simulation = "email=1, activity=0".parse().unwrap();
        assert!(simulation.failure(Effect::Email).is_some());
        assert!(simulation.failure(Effect::Activity).is_none());
        assert!(Simulation::default().failure(Effect::Email).is_none());
        for bad in ["", "email", "email=2", "email=-0.1", "email=NaN", "sms=0.5"] {
            assert!(bad.parse::<Simulation>().is_err(), "{bad}");
        }
    }
}
