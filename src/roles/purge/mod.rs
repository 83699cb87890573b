//! `taskd purge`: deletes what has outlived its retention.

mod args;

use std::process::ExitCode;

use chrono::Utc;
use prometheus::core::Collector;

pub use self::args::Args;
use super::progress::Progress;
use super::{runtime, upkeep};
use crate::ground::output;
use crate::ground::telemetry::Metrics;
use crate::retention::purge;
use crate::store::Store;

/// How many rows have been deleted so far.
fn purged_rows(metrics: &Metrics) -> i64 {
    let families = metrics.purged.collect();
    let rows = families.iter().flat_map(|family| family.get_metric());
    rows.map(|row| row.get_counter().get_value()).sum::<f64>() as i64
}

/// Purges once, or on a schedule until told to stop.
///
/// # Errors
/// The configuration is wrong, or, with `--once`, the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let schedule = args.schedule()?;
    let url = args.database.required_url(&args.tls.load()?)?;
    let keep = args.retention.checked(&args.retry)?;
    let shutdown = runtime::stop_signal(args.shutdown.drain_timeout)?;
    runtime::check_database(&url).await?;
    let store = Store::new(&url, 1)?;
    let metrics = Metrics::new()?;
    match schedule {
        None => {
            let purging = purge(&store, keep, Utc::now(), &metrics, &shutdown);
            let progress = Progress::new(args.quiet, "rows deleted");
            match progress.during(purging, || purged_rows(&metrics)).await? {
                Some(purged) => output::print(serde_json::to_string(&purged)?)?,
                None => output::print("another process is purging")?,
            }
        }
        Some(schedule) => tokio::select! {
            () = upkeep::purge_by_schedule(&schedule, &store, keep, &metrics, &shutdown, false) => {}
            () = shutdown.deadline() => tracing::warn!("DRAIN_TIMEOUT is over; the next purge continues"),
        },
    }
    Ok(ExitCode::SUCCESS)
}
