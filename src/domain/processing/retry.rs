//! When a failed message is retried, and when it becomes a dead letter.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::processing::failure::{Class, Failures, Hold};

/// The delays between attempts, in order. A message has one attempt more than there are delays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    delays: Vec<Duration>,
}

/// Where a message goes that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It waits in a delay queue, and comes back as the next attempt.
    Retry {
        /// How long it waits.
        after: Duration,
        /// The number of the next attempt; the first one has number 1.
        attempt: u32,
    },
    /// It waits in a delay queue, and comes back as the same attempt.
    Park {
        /// How long it waits.
        after: Duration,
    },
    /// It waits in the database until its effect may run, and comes back as the same attempt.
    Hold(Hold),
    /// It goes to the dead letters.
    Dead(DeadReason),
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// It has no signature of this installation, or was changed after it was signed.
    NotOurs,
    /// It can't be read as an event.
    Malformed,
    /// Every attempt failed.
    Exhausted,
    /// An effect failed for a reason that will not pass.
    Permanent,
    /// The broker gave up: it was delivered too often without an answer, as happens if it kills
    /// workers.
    DeliveryLimit,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [DeadReason; 5] = [
        DeadReason::NotOurs,
        DeadReason::Malformed,
        DeadReason::Exhausted,
        DeadReason::Permanent,
        DeadReason::DeliveryLimit,
    ];

    /// Its name in headers, lists, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadReason::NotOurs => "not ours",
            DeadReason::Malformed => "malformed",
            DeadReason::Exhausted => "retries-exhausted",
            DeadReason::Permanent => "permanent-failure",
            DeadReason::DeliveryLimit => "delivery-limit",
        }
    }
}

/// RabbitMQ keeps a queue's TTL in an unsigned 32-bit number of milliseconds, and refuses more
/// (<https://www.rabbitmq.com/docs/ttl>).
const LONGEST_DELAY: Duration = Duration::from_millis(u32::MAX as u64);
/// Each step needs a queue, and each attempt an entry in the history header.
const MOST_STEPS: usize = 100;

impl RetryPolicy {
    /// Where a message goes after attempt number `attempt` (from 1) left these failures.
    pub fn route(&self, attempt: u32, failures: &Failures) -> Route {
        match failures.deciding() {
            Class::NotOurs => Route::Dead(DeadReason::NotOurs),
            Class::Malformed => Route::Dead(DeadReason::Malformed),
            Class::Permanent => Route::Dead(DeadReason::Permanent),
            Class::Waiting(at_most) => Route::Park { after: self.park(at_most) },
            Class::Held(hold) => Route::Hold(hold),
            Class::Transient => {
                let attempt = attempt.max(1);
                let step = usize::try_from(attempt - 1).unwrap_or(usize::MAX);
                match self.delays.get(step) {
                    Some(&after) => Route::Retry { after, attempt: attempt.saturating_add(1) },
                    // What has only waited must not die with what has failed.
                    None => failures.hold().map_or(Route::Dead(DeadReason::Exhausted), Route::Hold),
                }
            }
        }
    }

    /// The delay of a message that has to wait `remaining` without counting an attempt: the
    /// shortest step that covers it, or else the longest.
    fn park(&self, remaining: Duration) -> Duration {
        let covering = self.delays.iter().filter(|d| **d >= remaining).min();
        covering.or_else(|| self.delays.iter().max()).copied().unwrap_or_default()
    }

    /// How many retries a message has in all.
    pub fn retries(&self) -> u32 {
        u32::try_from(self.delays.len()).unwrap_or(u32::MAX)
    }

    /// How long a message can be under way between its first attempt and its last.
    pub fn longest_path(&self) -> Duration {
        self.delays.iter().sum()
    }

    /// The distinct delays, ascending: one for each delay queue.
    pub fn distinct_delays(&self) -> Vec<Duration> {
        let mut delays = self.delays.clone();
        delays.sort();
        delays.dedup();
        delays
    }
}

impl FromStr for RetryPolicy {
    type Err = String;

    /// Reads a list like `1s,5s,2m`.
    fn from_str(text: &str) -> Result<Self, String> {
        let delays =
            text.split(',').map(|part| parse_delay(part.trim())).collect::<Result<Vec<_>, _>>()?;
        if delays.len() > MOST_STEPS {
            return Err(format!("{} delays are too many: at most {MOST_STEPS}", delays.len()));
        }
        Ok(RetryPolicy { delays })
    }
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    let delay = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration such as 500ms, 5s or 2m"))?;
    if delay.subsec_nanos() % 1_000_000 != 0 || delay.is_zero() {
        return Err(format!("{text:?}: a delay is a whole number of milliseconds, at least one"));
    }
    if delay > LONGEST_DELAY {
        return Err(format!("{text:?} is longer than 49 days, which a queue's TTL can't express"));
    }
    Ok(delay)
}

impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.delays.iter().map(|d| short(*d)).collect();
        f.write_str(&texts.join(","))
    }
}

/// A duration in the largest unit that divides it: `90s`, `2m`, `250ms`. Part of queue names.
pub fn short(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::processing::failure::Failure;

    fn policy(text: &str) -> RetryPolicy {
        text.parse().unwrap()
    }

    #[test]
    fn each_attempt_waits_its_own_delay_and_the_last_has_none() {
        let policy = policy("1s, 5s,2m");
        let after = |attempt| policy.route(attempt, &Failure::transient("451").into());
        assert_eq!(after(1), Route::Retry { after: Duration::from_secs(1), attempt: 2 });
        assert_eq!(after(3), Route::Retry { after: Duration::from_secs(120), attempt: 4 });
        assert_eq!(after(4), Route::Dead(DeadReason::Exhausted));
        assert_eq!(after(u32::MAX), Route::Dead(DeadReason::Exhausted));
        assert_eq!(after(0), after(1));
        assert_eq!(policy.longest_path(), Duration::from_secs(126));
    }

    #[test]
    fn what_may_pass_decides_over_what_will_not() {
        let policy = policy("1s,5s");
        let route = |failures: &[Failure]| {
            policy.route(1, &Failures::of(failures.iter().cloned()).unwrap())
        };
        let (transient, permanent) = (Failure::transient("451"), Failure::permanent("550"));
        let waiting = |seconds| Failure::waiting(Duration::from_secs(seconds), "leased");
        let retry = Route::Retry { after: Duration::from_secs(1), attempt: 2 };
        let park = Route::Park { after: Duration::from_secs(5) };
        assert_eq!(route(&[permanent.clone(), transient.clone()]), retry);
        assert_eq!(route(&[waiting(3), transient]), retry);
        assert_eq!(route(&[waiting(3), permanent.clone(), waiting(1)]), park);
        let hold = Hold { at_least: Duration::from_secs(9), has_turn: true };
        let held = Failure::held(hold, "paused");
        assert_eq!(route(&[held.clone(), permanent.clone()]), Route::Hold(hold));
        let last = |failures: &[Failure]| {
            policy.route(3, &Failures::of(failures.iter().cloned()).unwrap())
        };
        assert_eq!(last(&[Failure::transient("451"), held.clone()]), Route::Hold(hold));
        assert_eq!(route(&[held, waiting(3)]), park);
        assert_eq!(route(&[permanent]), Route::Dead(DeadReason::Permanent));
        assert_eq!(route(&[Failure::malformed("")]), Route::Dead(DeadReason::Malformed));
        assert_eq!(route(&[Failure::not_ours()]), Route::Dead(DeadReason::NotOurs));
    }

    #[test]
    fn a_parked_message_waits_as_long_as_the_lease_where_a_step_is_that_long() {
        let policy = policy("10s,1s,5s");
        assert_eq!(policy.park(Duration::from_millis(10)), Duration::from_secs(1));
        assert_eq!(policy.park(Duration::from_secs(3)), Duration::from_secs(5));
        assert_eq!(policy.park(Duration::from_secs(60)), Duration::from_secs(10));
    }

    #[test]
    fn equal_delays_share_a_queue_and_have_one_name() {
        assert_eq!(
            policy("60s,1m,500ms").distinct_delays().into_iter().map(short).collect::<Vec<_>>(),
            ["500ms", "1m"]
        );
        assert_eq!(policy("60s,1m,90s,1500ms").to_string(), "1m,1m,90s,1500ms");
    }

    #[test]
    fn a_delay_list_that_cannot_work_is_refused_with_its_reason() {
        for (text, part) in [
            ("", "not a duration"),
            ("1s,,2s", "not a duration"),
            ("5", "not a duration"),
            ("0s", "at least one"),
            ("1us", "whole number"),
            ("50days", "49 days"),
        ] {
            let error = text.parse::<RetryPolicy>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(vec!["1s"; MOST_STEPS].join(",").parse::<RetryPolicy>().is_ok());
        assert!(vec!["1s"; MOST_STEPS + 1].join(",").parse::<RetryPolicy>().is_err());
    }
}
