//! What may be deleted, and when.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The time before which everything is too old. A retention that reaches back beyond 1970 keeps
/// everything.
pub fn horizon(now: DateTime<Utc>, keep: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(keep)
        .ok()
        .and_then(|keep| now.checked_sub_signed(keep))
        .unwrap_or(DateTime::UNIX_EPOCH)
        .max(DateTime::UNIX_EPOCH)
}

/// The record of one effect of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Whether it is done, or skipped for good.
    pub done: bool,
    /// When it was last written.
    pub touched_at: DateTime<Utc>,
}

/// What the outbox has of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outbox {
    /// It will be published, perhaps once more: a publisher may have died before it could mark it.
    Unpublished,
    /// It was published, for the last time by then.
    Published(DateTime<Utc>),
    /// Its row is deleted: it was published long ago.
    Gone,
}

/// Whether the records of an event may be deleted, all of them together. The event has so many
/// `effects` in all; while one of them is still to come, there is a message somewhere that needs
/// the others' records. A message that was published a short time ago may need them too, however
/// old they are.
pub fn may_forget(
    traces: &[Trace],
    effects: usize,
    outbox: Outbox,
    horizon: DateTime<Utc>,
) -> bool {
    let sent = match outbox {
        Outbox::Unpublished => false,
        Outbox::Published(at) => at < horizon,
        Outbox::Gone => true,
    };
    sent && traces.len() >= effects
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
        let gone = Outbox::Gone;
        assert!(may_forget(&finished, 2, gone, horizon));
        assert!(may_forget(&finished, 2, Outbox::Published(old), horizon));
        assert!(!may_forget(&finished, 2, Outbox::Published(new), horizon));
        assert!(!may_forget(&finished, 2, Outbox::Unpublished, horizon));
        assert!(!may_forget(&finished, 3, gone, horizon));
        assert!(!may_forget(&[trace(true, old), trace(true, new)], 2, gone, horizon));
        assert!(!may_forget(&[trace(true, old), trace(false, old)], 2, gone, horizon));
    }
}
