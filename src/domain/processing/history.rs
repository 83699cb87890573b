//! The failed attempts that a message carries with it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Which attempt, from 1; it starts again at 1 after a replay.
    pub attempt: u32,
    /// The worker that ran it.
    pub worker: String,
    /// When it failed.
    pub at: DateTime<Utc>,
    /// The effect that failed; `None` if the message itself is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Why, in at most [`ERROR_CHARS`] characters.
    pub error: String,
}

/// How much of an error a message carries, in characters.
pub const ERROR_CHARS: usize = 400;
/// How much of its last error a dead letter carries, in characters. At four bytes each this is well
/// below the limit of all headers.
pub const LAST_ERROR_CHARS: usize = 4000;
/// How many failures a message carries. All headers of a message must fit one AMQP frame, 128 KiB.
const MOST_FAILURES: usize = 40;

/// Adds a failure. If there is no room left, drops the oldest except the very first.
pub fn remember(history: &mut Vec<FailedAttempt>, mut failure: FailedAttempt) {
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

    #[test]
    fn a_history_stays_short_and_keeps_the_first_failure() {
        let mut history = Vec::new();
        for attempt in 1..=100 {
            let failure = FailedAttempt {
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
