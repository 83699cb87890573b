//! Makes metrics, each with its name and help text.

use std::cell::RefCell;

use prometheus::core::{Collector, Desc};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

/// Half a millisecond to ten seconds, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Makes metrics and adds them to a registry.
#[derive(Default)]
pub(super) struct Registering {
    pub(super) registry: Registry,
    /// The name, the help text and the labels of each.
    pub(super) descriptions: RefCell<Vec<Desc>>,
}

impl Registering {
    pub(super) fn describe(&self, metric: impl Collector + 'static) -> Result<()> {
        self.descriptions.borrow_mut().extend(metric.desc().into_iter().cloned());
        self.registry.register(Box::new(metric))
    }

    pub(super) fn add<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.describe(metric.clone())?;
        Ok(metric)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        self.add(HistogramVec::new(options, labels)?)
    }
}
