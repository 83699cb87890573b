//! What a message remembers of its failed attempts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One failed attempt, as the message remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
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
/// How much of the error that killed it a dead letter carries, in characters: with four bytes each well
/// below what all headers may have.
pub const LAST_ERROR_CHARS: usize = 4000;
/// How many failures it carries. All headers of a message must fit one AMQP frame, 128 KiB.
const MOST_FAILURES: usize = 40;

/// Adds a failure. Where there is no room left the oldest but the very first goes.
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
