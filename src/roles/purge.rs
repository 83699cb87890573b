//! `taskd purge`: deletes what has outlived its retention.

use std::process::ExitCode;
use std::time::Duration;

use chrono::Utc;

use crate::config::{ConfigError, DatabaseArgs, RetryArgs, ShutdownArgs, duration};
use crate::domain::schedule::Schedule;
use crate::retention::{Retention, purge};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Options of `taskd purge`.
#[derive(clap::Args)]
pub struct Args {
    /// Purge now, and end
    #[arg(long, required_unless_present = "cron", conflicts_with = "cron")]
    once: bool,
    /// Purge by this schedule, in UTC: minute, hour, day of month, month, day of week
    #[arg(long, env = "PURGE_CRON", value_name = "PURGE_CRON")]
    cron: Option<Schedule>,
    /// How long to remember what is done; longer than a message can be under way
    #[arg(long, env = "PROCESSED_RETENTION", value_name = "PROCESSED_RETENTION", default_value = "30d", value_parser = duration)]
    processed_retention: Duration,
    /// How long to keep published events
    #[arg(long, env = "EVENT_RETENTION", value_name = "EVENT_RETENTION", default_value = "30d", value_parser = duration)]
    event_retention: Duration,
    /// How long to keep the activity log
    #[arg(long, env = "ACTIVITY_RETENTION", value_name = "ACTIVITY_RETENTION", default_value = "365d", value_parser = duration)]
    activity_retention: Duration,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
}

/// Purges once, or by a schedule until it is told to stop.
///
/// # Errors
/// The configuration is wrong, or, with `--once`, the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = args.database.url()?;
    let road = args.retry.retry_delays.longest_road();
    if args.processed_retention < road {
        let problem = format!(
            "{} is shorter than the longest road of a retried message, {} (RETRY_DELAYS): its effects \
             could be repeated",
            humantime::format_duration(args.processed_retention),
            humantime::format_duration(road)
        );
        return Err(ConfigError::new("PROCESSED_RETENTION", problem).into());
    }
    let keep = Retention {
        processed: args.processed_retention,
        events: args.event_retention,
        activity: args.activity_retention,
    };
    let shutdown = super::shutdown(&args.shutdown)?;
    let store = Store::new(&url, 1)?;
    let metrics = Metrics::new()?;
    match args.cron {
        None => match purge(&store, keep, Utc::now(), &metrics, &shutdown).await? {
            Some(purged) => super::print(serde_json::to_string(&purged)?),
            None => super::print("another process is purging"),
        },
        Some(schedule) => by_schedule(&schedule, &store, keep, &metrics, &shutdown).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn by_schedule(
    schedule: &Schedule,
    store: &Store,
    keep: Retention,
    metrics: &Metrics,
    shutdown: &Shutdown,
) {
    while let Some(next) = schedule.next_after(Utc::now()) {
        tracing::info!(%schedule, next = %next.to_rfc3339(), "purging next");
        let pause = (next - Utc::now()).to_std().unwrap_or_default();
        if !shutdown.sleep(pause).await {
            return;
        }
        match purge(store, keep, Utc::now(), metrics, shutdown).await {
            Ok(Some(purged)) => tracing::info!(
                processed_messages = purged.processed_messages,
                events = purged.events,
                task_activity = purged.task_activity,
                "purged"
            ),
            Ok(None) => tracing::info!("another process is purging"),
            Err(error) => tracing::error!(%error, "purging failed; the next time will do it all"),
        }
    }
    tracing::warn!(%schedule, "this schedule never comes due again");
}
