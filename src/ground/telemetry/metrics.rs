//! What a process counts and measures, for Prometheus.

use prometheus::core::Desc;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry, Result, TextEncoder,
};

use super::activity::ROAD_BUCKETS;
use super::load::Load;
use super::process::ProcessCollector;
use super::registering::Registering;

/// What this process counts. Every name begins with `taskd_`, except those of the process itself
/// (`process_…`), which all programs share; times are in seconds.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field's help text, below, is its documentation")]
pub struct Metrics {
    registry: Registry,
    descriptions: Vec<Desc>,
    pub http_requests: HistogramVec,
    pub http_answers: IntCounterVec,
    pub task_writes: IntCounter,
    pub events_written: IntCounter,
    pub events_published: IntCounter,
    pub publish_failures: IntCounter,
    pub events_unpublished: IntGauge,
    pub events_unpublished_age: Gauge,
    pub broker_up: IntGauge,
    pub queue_messages: IntGaugeVec,
    pub queue_consumers: IntGaugeVec,
    pub deliveries: IntCounterVec,
    pub retries: IntCounterVec,
    pub effect_parked: IntCounterVec,
    pub effect_dead: IntCounterVec,
    pub dead_letters: IntCounterVec,
    pub duplicates_skipped: IntCounterVec,
    pub effect_seconds: HistogramVec,
    pub commit_to_effect_seconds: Histogram,
    pub effect_breaker_open: IntGaugeVec,
    pub effect_paused: IntGaugeVec,
    pub events_parked: IntGaugeVec,
    pub cache_reads: IntCounterVec,
    pub pool_size: IntGauge,
    pub pool_limit: IntGauge,
    pub pool_available: IntGauge,
    pub pool_waiting: IntGauge,
    pub purged: IntCounterVec,
    pub webhook_tries: HistogramVec,
    pub webhook_failed: IntCounter,
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
    pub fn new() -> Result<Metrics> {
        let new = Registering::default();
        let build = new.gauges("taskd_build_info", "The running version; 1", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        new.describe(ProcessCollector::new()?)?;
        let metrics = Metrics {
            http_requests: new.histograms(
                "taskd_http_request_duration_seconds",
                "Requests answered, by method, route template and status",
                &["method", "route", "status"],
            )?,
            http_answers: new.counters(
                "taskd_http_requests_total",
                "Requests answered, by route template and class: 2xx, 3xx, 4xx, 5xx, and 429 (too \
                 many requests), which is not among 4xx",
                &["route", "class"],
            )?,
            task_writes: new.counter(
                "taskd_task_writes_total",
                "Committed writes of tasks; each has one event or more",
            )?,
            events_written: new
                .counter("taskd_events_written_total", "Events of the writes that are committed")?,
            events_published: new
                .counter("taskd_events_published_total", "Events the broker has confirmed")?,
            publish_failures: new.counter(
                "taskd_publish_failures_total",
                "Events the broker did not confirm; each is published again",
            )?,
            events_unpublished: new.gauge(
                "taskd_events_unpublished",
                "Events in the outbox that are not yet published",
            )?,
            events_unpublished_age: new.add(Gauge::new(
                "taskd_events_unpublished_age_seconds",
                "Age of the oldest event that is not yet published",
            )?)?,
            broker_up: new.gauge(
                "taskd_broker_up",
                "Whether the broker answered when its queues were last asked for (1) or not (0)",
            )?,
            queue_messages: new.gauges(
                "taskd_queue_messages",
                "Messages waiting in a queue, as the broker says, by queue and role: main, delay, \
                 dead; absent while the broker doesn't answer",
                &["queue", "role"],
            )?,
            queue_consumers: new.gauges(
                "taskd_queue_consumers",
                "Consumers of a queue, as the broker says, by queue and role: main, delay, dead; \
                 absent where the broker doesn't know, as tables of the database don't",
                &["queue", "role"],
            )?,
            deliveries: new.counters(
                "taskd_deliveries_total",
                "Deliveries settled, by outcome: processed, duplicate, retried, parked, dead",
                &["outcome"],
            )?,
            retries: new.counters(
                "taskd_retries_total",
                "Messages sent to a delay queue after a failure, by effect",
                &["effect"],
            )?,
            effect_parked: new.counters(
                "taskd_effect_parked_total",
                "Effects that had to wait without a failed attempt, by effect",
                &["effect"],
            )?,
            effect_dead: new.counters(
                "taskd_effect_dead_total",
                "Effects whose message became a dead letter, by effect",
                &["effect"],
            )?,
            dead_letters: new.counters(
                "taskd_dead_letters_total",
                "Messages sent to the dead-letter queue, by reason",
                &["reason"],
            )?,
            duplicates_skipped: new.counters(
                "taskd_duplicates_skipped_total",
                "Effects not run again because they are done, by effect",
                &["effect"],
            )?,
            effect_seconds: new.histograms(
                "taskd_effect_duration_seconds",
                "Time an attempt at an effect took, by effect and outcome: done, skipped, \
                 transient, permanent",
                &["effect", "outcome"],
            )?,
            commit_to_effect_seconds: new.add(Histogram::with_opts(
                HistogramOpts::new(
                    "taskd_commit_to_effect_seconds",
                    "From the change of a task to the start of its effects, for a first attempt",
                )
                .buckets(ROAD_BUCKETS.to_vec()),
            )?)?,
            effect_breaker_open: new.gauges(
                "taskd_effect_breaker_open",
                "Whether this process holds an effect back because its other side is down (1)",
                &["effect"],
            )?,
            effect_paused: new.gauges(
                "taskd_effect_paused",
                "Whether an operator has paused an effect (1)",
                &["effect"],
            )?,
            events_parked: new.gauges(
                "taskd_events_parked",
                "Events that wait in the database for a pause or an outage to end, by effect",
                &["effect"],
            )?,
            cache_reads: new.counters(
                "taskd_cache_reads_total",
                "Cached reads, by outcome: hit, miss, bypass",
                &["outcome"],
            )?,
            pool_size: new.gauge("taskd_database_pool_size", "Database connections open")?,
            pool_limit: new.gauge(
                "taskd_database_pool_limit",
                "Database connections that this process opens at most",
            )?,
            pool_available: new
                .gauge("taskd_database_pool_available", "Database connections idle")?,
            pool_waiting: new.gauge(
                "taskd_database_pool_waiting",
                "Callers waiting for a database connection",
            )?,
            purged: new.counters(
                "taskd_purged_rows_total",
                "Rows deleted by purge, by table",
                &["table"],
            )?,
            webhook_tries: new.histograms(
                "taskd_webhook_try_duration_seconds",
                "Time that an endpoint took for a delivery, by outcome: done, failed, gone",
                &["outcome"],
            )?,
            webhook_failed: new.counter(
                "taskd_webhook_deliveries_failed_total",
                "Deliveries to webhooks that were given up",
            )?,
            requests: Load::default(),
            in_hand: Load::default(),
            descriptions: new.descriptions.take(),
            registry: new.registry,
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

    /// Creates the series of an effect, at zero.
    pub fn expect_effect(&self, name: &str) {
        for counter in
            [&self.retries, &self.effect_parked, &self.effect_dead, &self.duplicates_skipped]
        {
            counter.with_label_values(&[name]);
        }
        for gauge in [&self.effect_breaker_open, &self.effect_paused, &self.events_parked] {
            gauge.with_label_values(&[name]);
        }
    }

    /// The name and the labels of each metric, whether it has a series yet or not.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.descriptions
            .iter()
            .map(|desc| (desc.fq_name.as_str(), desc.variable_labels.as_slice()))
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
    fn every_metric_has_a_name_of_its_own_and_is_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.deliveries.with_label_values(&["processed"]).inc();
        metrics.expect_effect("email");
        let text = metrics.render();
        for line in [
            "taskd_deliveries_total{outcome=\"processed\"} 1",
            "taskd_events_unpublished 0",
            "taskd_effect_breaker_open{effect=\"email\"} 0",
            concat!("taskd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
