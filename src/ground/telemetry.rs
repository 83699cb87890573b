//! Logging, and the metrics of a process.

mod escape;
mod load;

pub use escape::printable;
pub use load::{InHand, Load};

use clap::ValueEnum;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checks logging directives.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check(directives: &str) -> Result<(), String> {
    const TAKES: &str = "must be off, error, warn, info, debug or trace, or directives such as \
                         info,taskd::consumer=debug";
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    for part in directives.split(',').map(str::trim) {
        // A word that is no level would be a target: everything of it is logged, and nothing of all
        // others.
        let level = match (part.rfind('='), part.rfind(']')) {
            (Some(equals), None) => &part[equals + 1..],
            (Some(equals), Some(bracket)) if equals > bracket => &part[equals + 1..],
            // A span, whose level may be left out.
            (_, Some(_)) => "trace",
            (None, None) => part,
        };
        if !is_level(level) {
            return Err(format!("{part:?} has no level: {TAKES}"));
        }
    }
    EnvFilter::try_new(directives).map(drop).map_err(|error| format!("{TAKES}: {error}"))
}

/// Libraries that log their own start, and pass on what the server notes, which is no news. Whoever
/// looks into one names it in the directives.
const QUIET: [&str; 3] = ["actix_server", "pglite_oxide", "tokio_postgres"];

/// Starts logging to standard error, in this form: what `directives` let through. Directives that
/// can't be read let nothing through: see [`check`].
pub fn init(directives: &str, format: LogFormat) {
    let mut all = directives.to_owned();
    for library in QUIET.iter().filter(|library| !directives.contains(**library)) {
        all.push_str(&format!(",{library}=warn"));
    }
    let filter = EnvFilter::new(all);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line can't be written if whoever read the log has gone. That is not worth a panic,
        // which is what reporting it to the same place would cause.
        .log_internal_errors(false);
    // A second call, as in tests, leaves the first in place.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => {
            use std::io::IsTerminal;
            builder
                .fmt_fields(escape::escaped_fields())
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .try_init()
        }
    };
}

/// Half a millisecond to ten seconds, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Five milliseconds to half an hour: a retried message takes its time.
const ROAD_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 1800.0];

/// What this process counts. Every name begins with `taskd_`; times are in seconds.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field's help text, below, is its documentation")]
pub struct Metrics {
    registry: Registry,
    pub http_requests: HistogramVec,
    pub task_writes: IntCounter,
    pub events_published: IntCounter,
    pub publish_failures: IntCounter,
    pub events_unpublished: IntGauge,
    pub events_unpublished_age: prometheus::Gauge,
    pub deliveries: IntCounterVec,
    pub retries: IntCounterVec,
    pub dead_letters: IntCounterVec,
    pub duplicates_skipped: IntCounterVec,
    pub effect_seconds: HistogramVec,
    pub commit_to_effect_seconds: Histogram,
    pub cache_reads: IntCounterVec,
    pub pool_size: IntGauge,
    pub pool_available: IntGauge,
    pub pool_waiting: IntGauge,
    pub purged: IntCounterVec,
    /// Requests under way; shown by `taskd ps` alone.
    pub requests: Load,
    /// Deliveries in hand; shown by `taskd ps` alone.
    pub in_hand: Load,
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// Two metrics have the same name, which a test rules out.
    pub fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let histograms = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(options, labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let age = prometheus::Gauge::new(
            "taskd_events_unpublished_age_seconds",
            "Age of the oldest event that is not yet published",
        )?;
        registry.register(Box::new(age.clone()))?;
        let road = Histogram::with_opts(
            HistogramOpts::new(
                "taskd_commit_to_effect_seconds",
                "From the change of a task to the start of its effects, for a first attempt",
            )
            .buckets(ROAD_BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(road.clone()))?;
        let metrics = Metrics {
            http_requests: histograms(
                "taskd_http_request_duration_seconds",
                "Requests answered, by method, route template and status",
                &["method", "route", "status"],
                &LATENCY_BUCKETS,
            )?,
            task_writes: counter(
                "taskd_task_writes_total",
                "Committed writes of tasks; each has one event or more",
            )?,
            events_published: counter(
                "taskd_events_published_total",
                "Events the broker has confirmed",
            )?,
            publish_failures: counter(
                "taskd_publish_failures_total",
                "Events the broker did not confirm; each is published again",
            )?,
            events_unpublished: gauge(
                "taskd_events_unpublished",
                "Events in the outbox that are not yet published",
            )?,
            events_unpublished_age: age,
            deliveries: counters(
                "taskd_deliveries_total",
                "Deliveries settled, by outcome: processed, duplicate, retried, parked, dead",
                &["outcome"],
            )?,
            retries: counters(
                "taskd_retries_total",
                "Messages sent to a delay queue after a failure, by effect",
                &["effect"],
            )?,
            dead_letters: counters(
                "taskd_dead_letters_total",
                "Messages sent to the dead-letter queue, by reason",
                &["reason"],
            )?,
            duplicates_skipped: counters(
                "taskd_duplicates_skipped_total",
                "Effects not run again because they are done, by effect",
                &["effect"],
            )?,
            effect_seconds: histograms(
                "taskd_effect_duration_seconds",
                "Time an effect took, by effect and outcome: done, skipped, transient, permanent",
                &["effect", "outcome"],
                &LATENCY_BUCKETS,
            )?,
            commit_to_effect_seconds: road,
            cache_reads: counters(
                "taskd_cache_reads_total",
                "Cached reads, by outcome: hit, miss, bypass",
                &["outcome"],
            )?,
            pool_size: gauge("taskd_database_pool_size", "Database connections open")?,
            pool_available: gauge("taskd_database_pool_available", "Database connections idle")?,
            pool_waiting: gauge(
                "taskd_database_pool_waiting",
                "Callers waiting for a database connection",
            )?,
            purged: counters(
                "taskd_purged_rows_total",
                "Rows deleted by purge, by table",
                &["table"],
            )?,
            requests: Load::default(),
            in_hand: Load::default(),
            registry,
        };
        // A series that exists from the start can be watched before it first counts.
        for outcome in ["processed", "duplicate", "retried", "parked", "dead"] {
            metrics.deliveries.with_label_values(&[outcome]);
        }
        for outcome in ["hit", "miss", "bypass"] {
            metrics.cache_reads.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    /// All metrics in the text format
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
    pub fn render(&self) -> String {
        // Any metric can be written as text; if that should ever change, the result is empty.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_would_leave_the_process_mute() {
        for good in [
            "info",
            "OFF",
            "trace,tokio_postgres=info",
            "info,taskd::consumer=debug",
            "taskd=debug",
            "info,taskd[delivery{task_id=1}]=trace",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "verbose",
            "info,verbose",
            "info,",
            "taskd=verbose",
            "info,==",
            "taskd=",
            "\u{1}",
        ] {
            assert!(check(bad).unwrap_err().contains("info,taskd::consumer=debug"), "{bad:?}");
        }
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_and_is_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.deliveries.with_label_values(&["processed"]).inc();
        assert!(metrics.render().contains("taskd_deliveries_total{outcome=\"processed\"} 1"));
        assert!(metrics.render().contains("taskd_events_unpublished 0"));
    }
}
