//! The consumer's metrics.

use std::time::Duration;

use crate::domain::processing::failure::{Class, Failure};
use crate::domain::processing::retry::DeadReason;
use crate::effects::{Outcome, Started};
use crate::ground::telemetry::Metrics;

/// The reasons for which a worker makes a message a dead letter.
const REASONS: [DeadReason; 4] =
    [DeadReason::NotOurs, DeadReason::Malformed, DeadReason::Exhausted, DeadReason::Permanent];

/// Creates the series from the start: one that exists can be watched before it first counts.
pub(super) fn expect(metrics: &Metrics, effects: &[Started]) {
    for started in effects {
        metrics.expect_effect(started.effect.name());
    }
    for reason in REASONS {
        metrics.dead_letters.with_label_values(&[reason.as_str()]);
    }
}

/// Counts one run of an effect.
pub(super) fn observe(
    metrics: &Metrics,
    effect: &str,
    outcome: &Result<Outcome, Failure>,
    took: Duration,
) {
    let label = match outcome {
        Ok(Outcome::Done | Outcome::Noted(_)) => "done",
        Ok(Outcome::Skipped(_)) => "skipped",
        Err(Failure { class: Class::Permanent, .. }) => "permanent",
        Err(_) => "transient",
    };
    metrics.effect_seconds.with_label_values(&[effect, label]).observe(took.as_secs_f64());
}
