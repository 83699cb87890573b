//! Webhooks: what an endpoint may ask for, and when a delivery is tried again.

pub mod events;
mod schedule;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::field::TextRule;
use crate::domain::rate::Rate;
use crate::domain::task::Status;

pub use schedule::{USUAL_DELAYS, after_failure};

/// What an endpoint is for.
pub const DESCRIPTION: TextRule = TextRule { min: 1, max: 500, not_blank: true };
/// How many endpoints a user may have, and how many may have no user.
pub const MOST_OF_A_USER: i64 = 50;
/// How many retries a delivery may have.
pub const MOST_RETRIES: usize = 20;
/// The shortest and the longest delay before a retry.
pub const SHORTEST_DELAY: Duration = Duration::from_secs(1);
/// See [`SHORTEST_DELAY`].
pub const LONGEST_DELAY: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The most deliveries a second that an endpoint's rate may allow.
pub const MOST_A_SECOND: u32 = 1_000;
/// How long the secret before is signed with after a new one was made.
pub const BOTH_SECRETS: Duration = Duration::from_secs(24 * 3_600);
/// After how long without a success the owner is told.
pub const WARNED_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// After how long without a success the endpoint is disabled.
pub const DISABLED_AFTER: Duration = Duration::from_secs(5 * 24 * 3_600);
/// The members of a payload that a filter may name.
pub const FILTERED_BY: [&str; 5] = ["id", "title", "status", "userId", "categoryId"];

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is tried when it is due.
    Pending,
    /// It waits for that of an earlier version of its task.
    Waiting,
    /// The endpoint has it.
    Done,
    /// It was given up.
    Failed,
}

impl DeliveryState {
    /// Each of them.
    pub const ALL: [DeliveryState; 4] = [
        DeliveryState::Pending,
        DeliveryState::Waiting,
        DeliveryState::Done,
        DeliveryState::Failed,
    ];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Waiting => "waiting",
            DeliveryState::Done => "done",
            DeliveryState::Failed => "failed",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Whether the record of a try decides over its delivery: one that was `accepted` does unless the
/// delivery is done already, for it has happened; one that was not, only for who holds the lease.
/// The statement in `store/webhooks/settling.rs` repeats it.
pub fn settles(accepted: bool, state: DeliveryState, holds_lease: bool) -> bool {
    match accepted {
        true => state != DeliveryState::Done,
        false => state == DeliveryState::Pending && holds_lease,
    }
}

/// Why an endpoint is not enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledReason {
    /// Somebody disabled it.
    ByRequest,
    /// It answered 410.
    Gone,
    /// No delivery has succeeded for [`DISABLED_AFTER`].
    Failing,
}

impl DisabledReason {
    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            DisabledReason::ByRequest => "by-request",
            DisabledReason::Gone => "gone",
            DisabledReason::Failing => "failing",
        }
    }
}

/// Checks a filter: an object whose members a payload must have.
///
/// # Errors
/// What is wrong, after the name of the field.
pub fn check_filter(filter: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in filter {
        let id = || value.as_i64().is_some_and(|id| id >= 1);
        let (is_right, expected) = match name.as_str() {
            "id" => (id(), "a whole number from 1"),
            "userId" | "categoryId" => (value.is_null() || id(), "a whole number from 1, or null"),
            "title" => {
                let fits = |text: &str| !text.contains('\0') && text.chars().count() <= 200;
                (value.as_str().is_some_and(fits), "a text of 200 characters at most")
            }
            "status" => {
                let known = value.as_str().is_some_and(|name| Status::from_name(name).is_some());
                (known, "one of pending, in-progress, completed")
            }
            _ => return Err(format!("has {name:?}; it may have {}", FILTERED_BY.join(", "))),
        };
        if !is_right {
            return Err(format!("{name} must be {expected}"));
        }
    }
    Ok(())
}

/// Checks the delays before retries.
///
/// # Errors
/// What is wrong, after the name of the field.
pub fn check_delays(delays: &[Duration]) -> Result<(), String> {
    if delays.len() > MOST_RETRIES {
        return Err(format!("must have {MOST_RETRIES} delays at most"));
    }
    if delays.iter().any(|delay| !(SHORTEST_DELAY..=LONGEST_DELAY).contains(delay)) {
        return Err("must have delays from 1s to 7d".to_owned());
    }
    Ok(())
}

/// Checks a rate.
///
/// # Errors
/// What is wrong, after the name of the field.
pub fn check_rate(rate: Rate) -> Result<(), String> {
    let most = f64::from(MOST_A_SECOND) * rate.period().as_secs_f64();
    if rate.count() == 0 || f64::from(rate.count()) > most {
        return Err(format!(
            "must allow at least one delivery and {MOST_A_SECOND} a second at most"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filter(value: Value) -> Result<(), String> {
        check_filter(value.as_object().unwrap())
    }

    #[test]
    fn a_filter_names_members_of_a_task_and_values_they_can_have() {
        for right in [
            json!({}),
            json!({ "userId": 7, "status": "in-progress" }),
            json!({ "categoryId": null, "title": "x", "id": 1 }),
        ] {
            assert_eq!(filter(right.clone()), Ok(()), "{right}");
        }
        for (wrong, part) in [
            (json!({ "owner": 7 }), "\"owner\"; it may have id, title"),
            (json!({ "status": "open" }), "status must be one of"),
            (json!({ "userId": "7" }), "userId must be a whole number"),
            (json!({ "id": null }), "id must be"),
            (json!({ "title": { "a": 1 } }), "title must be"),
            (json!({ "title": "a\u{0}" }), "title must be"),
        ] {
            let error = filter(wrong.clone()).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
        }
    }

    #[test]
    fn delays_and_rates_are_bounded() {
        let hour = Duration::from_secs(3_600);
        assert!(check_delays(&[hour; 20]).is_ok() && check_delays(&[]).is_ok());
        for wrong in [&[hour; 21][..], &[Duration::ZERO], &[LONGEST_DELAY * 2]] {
            assert!(check_delays(wrong).is_err(), "{wrong:?}");
        }
        let minute = Duration::from_secs(60);
        assert!(check_rate(Rate::of(60_000, minute)).is_ok());
        assert!(check_rate(Rate::of(60_001, minute)).is_err());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::from_name(state.as_str()), Some(state));
        }
        assert_eq!(DeliveryState::from_name("gone"), None);
    }
}
