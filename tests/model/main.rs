//! The protocol of outbox, publisher, queues, workers, dead letters and purge as a state machine, and
//! every state that it can come to, looked at by stateright. `docs/model.md` says what is modelled
//! and what is not. The decisions are the functions that the product runs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "what fails fails its test, and how many states there are is to be read"
)]

mod actions;
mod feed;
mod properties;
mod publishing;
mod purge;
mod state;
mod steps;
mod webhooks;

use std::collections::HashMap;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};
use taskd::domain::processing::retry::RetryPolicy;

use properties::*;
use state::{Budget, State};

/// The protocol, for so many of each and with so many faults.
#[derive(Clone)]
struct Protocol {
    events: usize,
    workers: usize,
    publishers: usize,
    policy: RetryPolicy,
    budget: Budget,
    defect: Option<Defect>,
    /// The `sometimes` properties of this configuration.
    reaches: &'static [&'static str],
}

/// A mistake on purpose, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// The event is written after the commit of its task.
    PublishAfterCommit,
    /// A delivery is acked when it arrives.
    AckBeforeEffect,
    /// Whether a database effect is done is looked up before it is run and recorded.
    CheckThenInsert,
    /// As it once was: a record goes by its age alone, a failed effect has none, and a message does
    /// not know whether its event is on record.
    ForgetByAge,
    /// A copy is marked as recorded, and what is still to come is not on record.
    MarkUnrecorded,
    /// Who brings back a parked message deletes its row whatever has become of it meanwhile.
    DeleteReparked,
    /// Not the product's mistake: the assumption about time does not hold.
    LateCopy,
}

impl Protocol {
    fn new(budget: Budget, reaches: &'static [&'static str]) -> Protocol {
        let (events, workers, publishers) = (1, 2, 1);
        let policy = Protocol::retries("1m");
        Protocol { events, workers, publishers, policy, budget, defect: None, reaches }
    }

    fn broken(defect: Defect, budget: Budget) -> Protocol {
        Protocol { defect: Some(defect), ..Protocol::new(budget, &[]) }
    }

    /// Looks at every state, and at every property in each.
    fn holds(self, name: &str) {
        let began = Instant::now();
        let checker = self.checker().spawn_dfs().join();
        println!(
            "{name}: {} unique states of {}, depth {}, {:.1} s",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            began.elapsed().as_secs_f64()
        );
        checker.assert_properties();
    }

    /// Looks until this property fails, which it must.
    fn fails(self, property: &'static str) {
        let finish = HasDiscoveries::AllOf([property].into());
        let defect = self.defect;
        let checker = self.checker().finish_when(finish).spawn_bfs().join();
        let states = checker.unique_state_count();
        match checker.discovery(property) {
            Some(path) => {
                let path = path.into_actions();
                println!("{defect:?}: \"{property}\" fails after {states} states: {path:?}");
            }
            None => {
                let others: Vec<String> = checker
                    .discoveries()
                    .into_iter()
                    .map(|(name, path)| format!("{name}: {:?}", path.into_actions()))
                    .collect();
                panic!(
                    "{defect:?}: \"{property}\" holds in all {states} states; what fails: {others:#?}"
                );
            }
        }
    }
}

#[test]
fn workers_die_and_connections_are_cut() {
    let budget = Budget { crashes: 2, cuts: 1, ..Budget::default() };
    let reaches = &[
        reached::PROCESSED,
        reached::SET_ASIDE,
        reached::REPEATED,
        reached::SIDE_BY_SIDE,
        reached::PARKED,
    ];
    Protocol::new(budget, reaches).holds("workers");
}

#[test]
fn two_publishers_send_the_same_event() {
    let budget = Budget { crashes: 1, losses: 1, stalls: 1, ..Budget::default() };
    let reaches = &[
        reached::PROCESSED,
        reached::TWO_SENT,
        reached::SIDE_BY_SIDE,
        reached::REPEATED,
        reached::PARKED,
    ];
    Protocol { publishers: 2, ..Protocol::new(budget, reaches) }.holds("publishers");
}

#[test]
fn attempts_fail_and_letters_are_replayed() {
    let budget = Budget { crashes: 1, failures: 2, losses: 1, replays: 1, ..Budget::default() };
    let reaches = &[reached::PROCESSED, reached::DEAD, reached::REPLAYED, reached::PARKED];
    Protocol::new(budget, reaches).holds("failures");
}

#[test]
fn letters_are_replayed_and_discarded_while_connections_are_cut() {
    let budget =
        Budget { cuts: 1, failures: 2, stalls: 1, replays: 1, discards: 1, ..Budget::default() };
    let reaches = &[reached::PROCESSED, reached::DEAD, reached::DISCARDED, reached::SIDE_BY_SIDE];
    Protocol::new(budget, reaches).holds("cuts");
}

#[test]
fn letters_are_replayed_after_their_records_could_be_forgotten() {
    let budget = Budget { crashes: 1, failures: 2, replays: 2, ticks: 2, ..Budget::default() };
    let reaches = &[reached::DEAD, reached::REPLAYED, reached::PURGED, reached::LATE];
    Protocol { policy: Protocol::retries("1m"), ..Protocol::new(budget, reaches) }
        .holds("retention");
}

#[test]
fn events_wait_in_the_outbox_and_the_queue_while_the_retention_passes() {
    let budget = Budget { crashes: 2, losses: 1, ticks: 2, ..Budget::default() };
    let reaches = &[reached::PROCESSED, reached::PURGED, reached::TWO_SENT];
    Protocol { publishers: 2, ..Protocol::new(budget, reaches) }.holds("outages");
}

#[test]
fn messages_wait_for_a_gate() {
    let budget = Budget { crashes: 1, failures: 1, holds: 2, ..Budget::default() };
    let reaches = &[reached::PROCESSED, reached::GATED, reached::PARKED_ANEW, reached::DEAD];
    Protocol::new(budget, reaches).holds("gates");
}

#[test]
fn two_events_do_not_disturb_each_other() {
    let budget = Budget { crashes: 1, ..Budget::default() };
    let reaches = &[reached::PROCESSED, reached::REPEATED];
    Protocol { events: 2, ..Protocol::new(budget, reaches) }.holds("two events");
}

#[test]
fn publishing_after_the_commit_loses_events() {
    let budget = Budget { crashes: 1, ..Budget::default() };
    for property in [LOST, AT_REST, COMES_TO_REST] {
        Protocol::broken(Defect::PublishAfterCommit, budget).fails(property);
    }
}

#[test]
fn acking_before_the_effect_loses_events() {
    let budget = Budget { crashes: 1, ..Budget::default() };
    Protocol::broken(Defect::AckBeforeEffect, budget).fails(LOST);
}

#[test]
fn checking_before_inserting_repeats_database_effects() {
    let budget = Budget { losses: 1, ..Budget::default() };
    Protocol::broken(Defect::CheckThenInsert, budget).fails(TWICE);
}

#[test]
fn forgetting_by_age_repeats_what_a_replayed_letter_had_done() {
    let budget = Budget { failures: 1, replays: 1, ticks: 1, ..Budget::default() };
    Protocol::broken(Defect::ForgetByAge, budget).fails(TWICE);
}

#[test]
fn a_mark_without_records_drops_what_is_still_to_come() {
    let budget = Budget { failures: 1, ..Budget::default() };
    Protocol::broken(Defect::MarkUnrecorded, budget).fails(DROPPED);
}

#[test]
fn deleting_what_was_parked_anew_loses_it() {
    let budget = Budget { holds: 2, ..Budget::default() };
    for property in [LOST, AT_REST] {
        Protocol::broken(Defect::DeleteReparked, budget).fails(property);
    }
}

#[test]
fn a_second_copy_that_outlasts_the_retention_is_the_window_that_is_left() {
    let budget = Budget { losses: 1, ticks: 1, ..Budget::default() };
    for property in [FORGOTTEN, TWICE, REPEATED] {
        Protocol::broken(Defect::LateCopy, budget).fails(property);
    }
}

/// Liveness is read from states at rest, which is sound only if every path ends.
#[test]
fn no_path_runs_in_circles() {
    let budget = Budget {
        crashes: 1,
        failures: 1,
        losses: 1,
        replays: 1,
        ticks: 1,
        holds: 1,
        ..Budget::default()
    };
    let model = Protocol { workers: 1, ..Protocol::new(budget, &[]) };
    let began = Instant::now();
    // Whether a state is on the path that is being walked.
    let mut on_path: HashMap<State, bool> = HashMap::new();
    let start = model.init_states().remove(0);
    let mut path = vec![(start.clone(), model.next_states(&start))];
    on_path.insert(start, true);
    while let Some((state, next)) = path.last_mut() {
        let Some(follower) = next.pop() else {
            on_path.insert(state.clone(), false);
            path.pop();
            continue;
        };
        match on_path.get(&follower) {
            Some(true) => panic!("a circle through {follower:#?}"),
            Some(false) => {}
            None => {
                on_path.insert(follower.clone(), true);
                let next = model.next_states(&follower);
                path.push((follower, next));
            }
        }
    }
    println!("circles: {} unique states, {:.1} s", on_path.len(), began.elapsed().as_secs_f64());
}
