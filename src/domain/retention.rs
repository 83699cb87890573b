//! What may be forgotten, and when.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Everything before this is too old. A retention longer than time keeps everything.
pub fn horizon(now: DateTime<Utc>, keep: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(keep)
        .ok()
        .and_then(|keep| now.checked_sub_signed(keep))
        .unwrap_or(DateTime::UNIX_EPOCH)
        .max(DateTime::UNIX_EPOCH)
}

/// What is kept about one effect of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Whether it is done, or skipped for good.
    pub done: bool,
    /// When it was last written.
    pub touched_at: DateTime<Utc>,
}

/// Whether the records of an event may go: all of them or none. The event has so many `effects` in
/// all; while one is to come, a message is somewhere that needs the others' records. An event that
/// is yet `unpublished` will be a message again.
pub fn may_forget(
    traces: &[Trace],
    effects: usize,
    unpublished: bool,
    horizon: DateTime<Utc>,
) -> bool {
    !unpublished
        && traces.len() >= effects
        && traces.iter().all(|trace| trace.done && trace.touched_at < horizon)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-24T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_endless_retention_keeps_everything() {
        let day = Duration::from_secs(86_400);
        assert_eq!(horizon(now(), day).to_rfc3339(), "2026-11-23T00:00:00+00:00");
        assert_eq!(horizon(now(), Duration::MAX), DateTime::UNIX_EPOCH);
    }

    #[test]
    fn an_event_is_forgotten_when_all_its_effects_are_done_and_old() {
        let (old, new) = (horizon(now(), Duration::from_secs(2)), now());
        let horizon = horizon(now(), Duration::from_secs(1));
        let trace = |done, touched_at| Trace { done, touched_at };
        let finished = [trace(true, old), trace(true, old)];
        assert!(may_forget(&finished, 2, false, horizon));
        assert!(!may_forget(&finished, 2, true, horizon));
        assert!(!may_forget(&finished, 3, false, horizon));
        assert!(!may_forget(&[trace(true, old), trace(true, new)], 2, false, horizon));
        assert!(!may_forget(&[trace(true, old), trace(false, old)], 2, false, horizon));
    }
}
