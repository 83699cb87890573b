//! Failures on purpose.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Effects;

/// The rates at which effects are to fail, to show what happens then.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Simulation {
    rates: BTreeMap<String, f64>,
}

impl Simulation {
    /// An error if the effect of this name is to fail this time.
    pub fn failure(&self, effect: &str) -> Option<String> {
        let rate = *self.rates.get(effect)?;
        (rand::random::<f64>() < rate).then(|| format!("simulated failure (at a rate of {rate})"))
    }

    /// Whether no effect is to fail.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// Checks that each effect it names is in this list.
    ///
    /// # Errors
    /// One of them is not.
    pub fn of(self, effects: &Effects) -> Result<Simulation, String> {
        self.rates.keys().try_for_each(|name| effects.check(name))?;
        Ok(self)
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
            match rate.parse::<f64>() {
                Ok(rate) if (0.0..=1.0).contains(&rate) => rates.insert(name.to_owned(), rate),
                _ => return Err(format!("{rate:?} is not a rate from 0 to 1")),
            };
        }
        Ok(Simulation { rates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::built_in;

    #[test]
    fn a_simulation_is_read_strictly() {
        let read = |text: &str| text.parse::<Simulation>()?.of(&built_in());
        let simulation = read("email=1, activity=0").unwrap();
        assert!(simulation.failure("email").is_some());
        assert!(simulation.failure("activity").is_none());
        assert!(Simulation::default().failure("email").is_none());
        for bad in ["", "email", "email=2", "email=-0.1", "email=NaN", "sms=0.5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("sms=1").unwrap_err().contains("there are: activity, email"));
    }
}
