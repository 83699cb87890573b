//! Settings of the background work: retention times, and failures on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ConfigError, RetryArgs, duration, whole};
use crate::domain::processing::gate::BreakerLimit;
use crate::domain::rate::Rate;
use crate::effects::{self, Simulation};
use crate::gates::EffectLimits;
use crate::retention::Retention;

/// How long things are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArgs {
    /// How long to remember what is done; longer than a message can be under way
    #[arg(long, env = "PROCESSED_RETENTION", value_name = "PROCESSED_RETENTION", default_value = "30d", value_parser = duration)]
    pub processed_retention: Duration,
    /// How long to keep published events
    #[arg(long, env = "EVENT_RETENTION", value_name = "EVENT_RETENTION", default_value = "30d", value_parser = duration)]
    pub event_retention: Duration,
    /// How long to keep the activity log
    #[arg(long, env = "ACTIVITY_RETENTION", value_name = "ACTIVITY_RETENTION", default_value = "365d", value_parser = duration)]
    pub activity_retention: Duration,
    /// How long to keep failed attempts
    #[arg(long, env = "ATTEMPT_RETENTION", value_name = "ATTEMPT_RETENTION", default_value = "30d", value_parser = duration)]
    pub attempt_retention: Duration,
    /// How long to keep dead letters that are settled; open ones stay
    #[arg(long, env = "DEAD_LETTER_RETENTION", value_name = "DEAD_LETTER_RETENTION", default_value = "90d", value_parser = duration)]
    pub dead_letter_retention: Duration,
    /// How long to keep the audit log
    #[arg(long, env = "AUDIT_RETENTION", value_name = "AUDIT_RETENTION", default_value = "365d", value_parser = duration)]
    pub audit_retention: Duration,
    /// How long to keep what was done in each minute
    #[arg(long, env = "HISTORY_RETENTION", value_name = "HISTORY_RETENTION", default_value = "7d", value_parser = duration)]
    pub history_retention: Duration,
}

impl RetentionArgs {
    /// The retention times, after checking that no retried message outlives the record of its
    /// effects.
    pub fn checked(&self, retry: &RetryArgs) -> Result<Retention, ConfigError> {
        let path = retry.retry_delays.longest_path();
        if self.processed_retention < path {
            let problem = format!(
                "{} is shorter than the longest retry path of a message, {} (RETRY_DELAYS): its \
                 effects could be repeated",
                humantime::format_duration(self.processed_retention),
                humantime::format_duration(path)
            );
            return Err(ConfigError::new("PROCESSED_RETENTION", problem));
        }
        Ok(Retention {
            processed: self.processed_retention,
            events: self.event_retention,
            activity: self.activity_retention,
            attempts: self.attempt_retention,
            letters: self.dead_letter_retention,
            audit: self.audit_retention,
            history: self.history_retention,
        })
    }
}

/// When effects have to wait.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Effects")]
pub struct EffectArgs {
    /// After how many failures in a row that may pass an effect waits until the other side is back;
    /// or off
    #[arg(long, env = "EFFECT_BREAKER", value_name = "EFFECT_BREAKER", default_value = "20")]
    effect_breaker: BreakerLimit,
    /// How often effects outside the database may run, over all workers, such as email=100/1m
    #[arg(long, env = "EFFECT_RATE", value_name = "EFFECT_RATE", value_parser = effect_rates)]
    effect_rate: Option<BTreeMap<String, Rate>>,
    /// How many runs of an effect outside the database there may be at a time, over all workers,
    /// such as email=8
    #[arg(long, env = "EFFECT_CONCURRENCY", value_name = "EFFECT_CONCURRENCY",
          value_parser = effect_concurrency)]
    effect_concurrency: Option<BTreeMap<String, u16>>,
}

impl EffectArgs {
    /// The settings of the gates.
    pub fn limits(&self) -> EffectLimits {
        EffectLimits {
            breaker: self.effect_breaker,
            rates: self.effect_rate.clone().unwrap_or_default(),
            concurrency: self.effect_concurrency.clone().unwrap_or_default(),
        }
    }
}

fn effect_rates(text: &str) -> Result<BTreeMap<String, Rate>, String> {
    by_effect(text, "email=100/1m", |value| value.parse())
}

fn effect_concurrency(text: &str) -> Result<BTreeMap<String, u16>, String> {
    by_effect(text, "email=8", whole(1..=10_000_u16))
}

/// Reads a list of values for effects that are limited.
fn by_effect<T>(
    text: &str,
    example: &str,
    value: impl Fn(&str) -> Result<T, String>,
) -> Result<BTreeMap<String, T>, String> {
    let mut values = BTreeMap::new();
    for part in text.split(',') {
        let (name, text) = part.trim().split_once('=').ok_or_else(|| {
            format!("{part:?} is not of the form EFFECT=VALUE, such as {example}")
        })?;
        effects::built_in().check(name)?;
        let read =
            value(text.trim()).map_err(|problem| format!("the value of {name} {problem}"))?;
        if values.insert(name.to_owned(), read).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(values)
}

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Environment {
    /// Trying things out
    Development,
    /// Being relied upon
    Production,
}

fn simulation(text: &str) -> Result<Simulation, String> {
    text.parse::<Simulation>()?.of(&effects::built_in())
}

/// Failures on purpose.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Demonstration")]
pub struct SimulationArgs {
    /// Make effects fail at a rate, such as email=0.5, to see what happens; not in production
    #[arg(long, value_name = "EFFECT=RATE,…", value_parser = simulation)]
    simulate_failure: Option<Simulation>,
    /// With "production", demonstrations are refused
    #[arg(
        long,
        env = "TASKD_ENV",
        value_name = "TASKD_ENV",
        default_value = "development",
        ignore_case = true
    )]
    environment: Environment,
}

impl SimulationArgs {
    /// Whether this process is one that is relied upon.
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// The failures to simulate, unless that is forbidden here.
    pub fn checked(self) -> Result<Simulation, ConfigError> {
        let is_production = self.is_production();
        let simulation = self.simulate_failure.unwrap_or_default();
        if !simulation.is_empty() && is_production {
            return Err(ConfigError::new(
                "TASKD_ENV",
                "is production: --simulate-failure is refused",
            ));
        }
        Ok(simulation)
    }
}
