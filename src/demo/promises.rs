//! Which promise each fault puts at stake, and what the model says of it. README and docs/model.md
//! have the same words; a test compares them.

use serde::Serialize;

/// A fault, the promise that it puts at stake, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stake {
    /// The fault: `stop`, `freeze`, `hold`, `mail`, `mailForGood`, `duplicates` or `garbage`.
    pub fault: &'static str,
    /// The promise of the README.
    pub promise: Promise,
    /// What of it is checked in every state of the model; `None` where the model has no such fault.
    pub model: Option<Model>,
    /// What is to be seen, and the window that the promise leaves open here.
    pub window: &'static str,
}

/// A promise of the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// Its row in the table, from 1.
    pub number: u8,
    /// The row's first column.
    pub text: &'static str,
}

/// A check of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Model {
    /// The property, as docs/model.md has it.
    pub property: &'static str,
    /// The test that explores it with faults of this sort.
    pub test: &'static str,
    /// How many states that visits.
    pub states: u32,
}

const ONCE: Promise =
    Promise { number: 3, text: "Each effect of an event happens once for each of its targets." };
const KEPT: Promise = Promise { number: 4, text: "No message is lost." };
const OUTAGES: Promise = Promise { number: 5, text: "Outages cost time, not data." };

const NOT_LOST: &str = "No committed event is lost";
const REPEATED_ONLY_IN_THE_WINDOW: &str =
    "An external effect is repeated only after a fault between the run and its record";

/// Every fault, in the order in which they are worth trying.
pub const STAKES: [Stake; 7] = [
    Stake {
        fault: "stop",
        promise: KEPT,
        model: Some(Model {
            property: NOT_LOST,
            test: "workers_die_and_connections_are_cut",
            states: 28_202,
        }),
        window: "None: the workers finish what they have, and everything else waits in the queue.",
    },
    Stake {
        fault: "hold",
        promise: OUTAGES,
        model: Some(Model {
            property: NOT_LOST,
            test: "events_wait_in_the_outbox_and_the_queue_while_the_retention_passes",
            states: 352_775,
        }),
        window: "None: writes go on, their events wait in the outbox, and what workers had in hand comes again and finds its effects done.",
    },
    Stake {
        fault: "mail",
        promise: OUTAGES,
        model: Some(Model {
            property: REPEATED_ONLY_IN_THE_WINDOW,
            test: "attempts_fail_and_letters_are_replayed",
            states: 634_897,
        }),
        window: "Until the breaker opens, each failure is a failed attempt; a mail whose attempts are all used up is a dead letter.",
    },
    Stake {
        fault: "mailForGood",
        promise: KEPT,
        model: Some(Model {
            property: "No message, replayed or not, is settled before its effects have happened or a copy is safe",
            test: "letters_are_replayed_after_their_records_could_be_forgotten",
            states: 818_418,
        }),
        window: "None: what is refused for good is a dead letter at once, and a replay runs the mail alone.",
    },
    Stake {
        fault: "freeze",
        promise: ONCE,
        model: Some(Model {
            property: REPEATED_ONLY_IN_THE_WINDOW,
            test: "letters_are_replayed_and_discarded_while_connections_are_cut",
            states: 211_274,
        }),
        window: "This is the window itself: the worker stands still for longer than its claim's lease, between sending and recording, so another sends that mail again, under the same Message-ID. It counts as repeated, and as within the window.",
    },
    Stake {
        fault: "duplicates",
        promise: ONCE,
        model: Some(Model {
            property: "No database effect happens twice",
            test: "two_publishers_send_the_same_event",
            states: 38_748,
        }),
        window: "None for a copy that arrives within PROCESSED_RETENTION, which is a day here.",
    },
    Stake {
        fault: "garbage",
        promise: KEPT,
        // The model leaves out messages that are not ours: they have no effects.
        model: None,
        window: "None: what this installation has not signed is a dead letter at once, and no effect runs.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str) -> String {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        // Sentences may go over lines.
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_promises_are_those_of_the_readme_and_the_states_those_of_the_model() {
        let (readme, model) = (document("README.md"), document("docs/model.md"));
        let table = readme.split("| promise | how | window | |---|---|---|").nth(1).unwrap();
        for stake in STAKES {
            let row = table.split(" | | ").nth(usize::from(stake.promise.number) - 1).unwrap();
            let first = row.trim_start().trim_start_matches("| ");
            assert!(first.starts_with(stake.promise.text), "{}: {first}", stake.fault);
            let Some(Model { property, test, states }) = stake.model else { continue };
            assert!(model.contains(property), "{property}");
            let row = model.split(&format!("`{test}` |")).nth(1).unwrap();
            let digits = |text: &str| text.replace(',', "");
            let count = row.split('|').nth(1).unwrap();
            assert_eq!(digits(count.trim()), states.to_string(), "{test}");
        }
    }
}
