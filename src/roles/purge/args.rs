//! The command line of `taskd purge`.

use crate::config::{ConfigError, DatabaseArgs, RetentionArgs, RetryArgs, ShutdownArgs, TlsArgs};
use crate::domain::schedule::Schedule;

/// Options of `taskd purge`.
#[derive(clap::Args)]
pub struct Args {
    /// Purge now, and end
    #[arg(long)]
    once: bool,
    /// Purge by this schedule, in UTC: minute, hour, day of month, month, day of week
    /// [env: PURGE_CRON=]
    #[arg(long, value_name = "PURGE_CRON", conflicts_with = "once")]
    cron: Option<Schedule>,
    /// With --once: show no progress
    #[arg(long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) retention: RetentionArgs,
    #[command(flatten)]
    pub(super) retry: RetryArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) shutdown: ShutdownArgs,
}

impl Args {
    /// The schedule; `None` with `--once`. The variable is read here, because clap would treat it
    /// like the flag, which conflicts with `--once`.
    pub(super) fn schedule(&self) -> Result<Option<Schedule>, ConfigError> {
        const VARIABLE: &str = "PURGE_CRON";
        match (&self.cron, self.once) {
            (_, true) => Ok(None),
            (Some(schedule), false) => Ok(Some(schedule.clone())),
            (None, false) => {
                let missing = "is not set: give --once, --cron or a schedule in it";
                let text =
                    std::env::var(VARIABLE).map_err(|_| ConfigError::new(VARIABLE, missing))?;
                text.parse().map(Some).map_err(|e: String| ConfigError::new(VARIABLE, e))
            }
        }
    }
}
