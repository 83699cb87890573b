//! `taskd purge`: deletes what has outlived its retention.

use std::process::ExitCode;

use chrono::Utc;

use super::upkeep;
use crate::config::{ConfigError, DatabaseArgs, RetentionArgs, RetryArgs, ShutdownArgs, TlsArgs};
use crate::domain::schedule::Schedule;
use crate::ground::output;
use crate::ground::telemetry::Metrics;
use crate::retention::purge;
use crate::store::Store;

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
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
}

impl Args {
    /// The schedule; `None` with `--once`. The variable is read here, because clap would treat it
    /// like the flag, which conflicts with `--once`.
    fn schedule(&self) -> Result<Option<Schedule>, ConfigError> {
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

/// Purges once, or on a schedule until told to stop.
///
/// # Errors
/// The configuration is wrong, or, with `--once`, the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let schedule = args.schedule()?;
    let url = args.database.required_url(&args.tls.load()?)?;
    let keep = args.retention.checked(&args.retry)?;
    let shutdown = super::runtime::stop_signal(args.shutdown.drain_timeout)?;
    super::runtime::check_database(&url).await?;
    let store = Store::new(&url, 1)?;
    let metrics = Metrics::new()?;
    match schedule {
        None => match purge(&store, keep, Utc::now(), &metrics, &shutdown).await? {
            Some(purged) => output::print(serde_json::to_string(&purged)?)?,
            None => output::print("another process is purging")?,
        },
        Some(schedule) => tokio::select! {
            () = upkeep::purge_by_schedule(&schedule, &store, keep, &metrics, &shutdown) => {}
            () = shutdown.deadline() => tracing::warn!("DRAIN_TIMEOUT is over; the next purge continues"),
        },
    }
    Ok(ExitCode::SUCCESS)
}
