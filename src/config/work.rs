//! Settings of the background work: retention times, and failures on purpose.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ConfigError, RetryArgs, duration};
use crate::effects::{self, Simulation};
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
        })
    }
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
    /// The failures to simulate, unless that is forbidden here.
    pub fn checked(self) -> Result<Simulation, ConfigError> {
        let simulation = self.simulate_failure.unwrap_or_default();
        if !simulation.is_empty() && self.environment == Environment::Production {
            return Err(ConfigError::new(
                "TASKD_ENV",
                "is production: --simulate-failure is refused",
            ));
        }
        Ok(simulation)
    }
}
