//! When a failed message is tried again, and what it remembers of its failures.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The pauses between attempts, in order. A message has one attempt more than there are pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    delays: Vec<Duration>,
}

/// What becomes of a message whose attempt has failed for a reason that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is tried again after the delay, as the given attempt.
    Retry {
        /// The pause before it.
        after: Duration,
        /// Its number; the first attempt has number 1.
        attempt: u32,
    },
    /// No attempt is left.
    Exhausted,
}

/// Why a message could not be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It will never be readable.
    Malformed,
    /// An effect failed for a reason that may pass.
    Transient,
    /// An effect failed for a reason that will not.
    Permanent,
    /// Another worker is at it, for so long at most, or it is not its turn for so long.
    Leased(Duration),
}

impl Cause {
    /// The one of several that decides. What may pass comes first: a message dies when nothing but
    /// the hopeless is left.
    pub fn deciding(causes: impl Iterator<Item = Cause>) -> Option<Cause> {
        causes.max_by_key(|cause| match cause {
            Cause::Malformed => (3, Duration::ZERO),
            Cause::Transient => (2, Duration::ZERO),
            Cause::Leased(remaining) => (1, *remaining),
            Cause::Permanent => (0, Duration::ZERO),
        })
    }
}

/// Where a message goes that could not be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It waits, then comes as this attempt.
    Retry {
        /// For so long.
        after: Duration,
        /// The attempt's number.
        attempt: u32,
    },
    /// It waits and comes again; no attempt is counted.
    Park {
        /// For so long.
        after: Duration,
    },
    /// To the dead letters, since its attempts failed in this way.
    Dead(Death),
}

/// What a message died of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It can't be read.
    Malformed,
    /// No attempt is left.
    Exhausted,
    /// No attempt would help.
    Permanent,
}

/// RabbitMQ keeps a queue's TTL in an unsigned 32-bit number of milliseconds and refuses
/// more (<https://www.rabbitmq.com/docs/ttl>).
const LONGEST_DELAY: Duration = Duration::from_millis(u32::MAX as u64);
/// Each step is a queue, and each attempt an entry in the history header.
const MOST_STEPS: usize = 100;

impl RetryPolicy {
    /// What follows after attempt number `attempt` (from 1) has failed.
    pub fn decide(&self, attempt: u32) -> Decision {
        let step = usize::try_from(attempt.max(1) - 1).unwrap_or(usize::MAX);
        match self.delays.get(step) {
            Some(&after) => Decision::Retry { after, attempt: attempt.max(1).saturating_add(1) },
            None => Decision::Exhausted,
        }
    }

    /// The pause for a message that must wait `remaining` for somebody else's lease to end,
    /// without counting an attempt: the shortest step that covers it, else the longest.
    pub fn park(&self, remaining: Duration) -> Duration {
        let covering = self.delays.iter().filter(|d| **d >= remaining).min();
        covering.or_else(|| self.delays.iter().max()).copied().unwrap_or_default()
    }

    /// Where a message goes whose attempt number `attempt` has come to nothing.
    pub fn way(&self, attempt: u32, cause: Cause) -> Way {
        match cause {
            Cause::Malformed => Way::Dead(Death::Malformed),
            Cause::Permanent => Way::Dead(Death::Permanent),
            Cause::Leased(remaining) => Way::Park { after: self.park(remaining) },
            Cause::Transient => match self.decide(attempt) {
                Decision::Retry { after, attempt } => Way::Retry { after, attempt },
                Decision::Exhausted => Way::Dead(Death::Exhausted),
            },
        }
    }

    /// How long a message can be under way between its first attempt and its last.
    pub fn longest_road(&self) -> Duration {
        self.delays.iter().sum()
    }

    /// The pauses, one for each delay queue: ascending, without repetition.
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
        .map_err(|e| format!("{text:?} is not a duration such as 500ms, 5s or 2m: {e}"))?;
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

/// One failed attempt, as the message remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which attempt, from 1; it starts again at 1 after a replay.
    pub attempt: u32,
    /// The worker that ran it.
    pub worker: String,
    /// When it failed.
    pub at: DateTime<Utc>,
    /// The effect that failed; absent where the message itself is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Why, in at most [`ERROR_CHARS`] characters.
    pub error: String,
}

/// How much of an error a message carries, in characters.
pub const ERROR_CHARS: usize = 400;
/// How much of the error that killed it a dead letter carries, in characters: with four bytes each well below what all
/// headers may have.
pub const LAST_ERROR_CHARS: usize = 4000;
/// How many failures it carries. All headers of a message must fit one AMQP frame, 128 KiB.
const MOST_FAILURES: usize = 40;

/// Adds a failure. Where there is no room left the oldest but the very first goes.
pub fn remember(history: &mut Vec<Failure>, mut failure: Failure) {
    if let Some((end, _)) = failure.error.char_indices().nth(ERROR_CHARS) {
        failure.error.truncate(end);
        failure.error.push('…');
    }
    history.push(failure);
    if history.len() > MOST_FAILURES {
        history.remove(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> RetryPolicy {
        text.parse().unwrap()
    }

    #[test]
    fn each_attempt_waits_its_own_delay_and_the_last_has_none() {
        let policy = policy("1s, 5s,2m");
        let after = |attempt| policy.decide(attempt);
        assert_eq!(after(1), Decision::Retry { after: Duration::from_secs(1), attempt: 2 });
        assert_eq!(after(3), Decision::Retry { after: Duration::from_secs(120), attempt: 4 });
        assert_eq!(after(4), Decision::Exhausted);
        assert_eq!(after(u32::MAX), Decision::Exhausted);
        assert_eq!(after(0), after(1));
        assert_eq!(policy.longest_road(), Duration::from_secs(126));
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

    #[test]
    fn a_history_stays_short_and_keeps_the_first_failure() {
        let mut history = Vec::new();
        for attempt in 1..=100 {
            let failure = Failure {
                attempt,
                worker: "w".into(),
                at: Utc::now(),
                effect: None,
                error: "é".repeat(1000),
            };
            remember(&mut history, failure);
        }
        assert_eq!(history.len(), MOST_FAILURES);
        assert_eq!(history[0].attempt, 1);
        assert_eq!(history.last().unwrap().attempt, 100);
        assert!(history.iter().all(|f| f.error.chars().count() == ERROR_CHARS + 1));
    }
}
