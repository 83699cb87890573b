//! Deliveries to a webhook that keeps the order as a state machine: one task whose versions are
//! written, read, taken, sent and settled, by workers that may die at any moment. Whether the record
//! of a try counts is the function that the product's rule is held to; the rest repeats the statements
//! of `store/webhooks/`.

use stateright::{Checker, HasDiscoveries, Model, Property};
use taskd::domain::webhook::{DeliveryState, settles};

/// A mistake on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blind {
    /// Nobody looks for deliveries that wait for nothing any more.
    NoRelease,
    /// A failure counts whoever holds the lease.
    AnyFailure,
    /// Every delivery is pending from the beginning.
    NoOrder,
}

#[derive(Debug, Clone)]
struct Delivering {
    versions: usize,
    workers: usize,
    /// How often each delivery is tried.
    tries: u8,
    /// How often the endpoint refuses, a worker dies, a lease ends too early, and somebody orders a
    /// delivery again.
    refusals: u8,
    crashes: u8,
    ends: u8,
    resends: u8,
    blind: Option<Blind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    state: DeliveryState,
    lease: u8,
    /// Whether somebody has taken it, and the lease has not ended.
    leased: bool,
    tries: u8,
}

impl Row {
    fn is_open(&self) -> bool {
        matches!(self.state, DeliveryState::Pending | DeliveryState::Waiting)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// It has taken a delivery.
    Holds {
        version: usize,
        lease: u8,
    },
    /// It knows what came of it.
    Knows {
        version: usize,
        lease: u8,
        accepted: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    written: usize,
    /// The deliveries that were made.
    rows: Vec<Row>,
    /// What the reader's statement has seen: whether an earlier delivery is open.
    reading: Option<bool>,
    workers: Vec<Worker>,
    /// How often the endpoint has accepted each version.
    accepted: Vec<u8>,
    refusals: u8,
    crashes: u8,
    ends: u8,
    resends: u8,
    /// Whether a version was tried first before the one before it was accepted or given up.
    disorder: bool,
    /// Whether a failure has settled what somebody else had taken.
    stale: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    Write,
    /// The reader's statement begins, and ends.
    Read,
    Insert,
    Release,
    Take(usize, usize),
    Accept(usize),
    Refuse(usize),
    Settle(usize),
    Crash(usize),
    LeaseEnds(usize),
    Resend(usize),
}

impl State {
    fn try_version(&mut self, version: usize) {
        let before = (0..version).all(|earlier| {
            self.accepted[earlier] > 0 || self.rows[earlier].state == DeliveryState::Failed
        });
        self.disorder |= !before && self.accepted[version] == 0;
    }

    /// The first open delivery after this one was settled, or at any time.
    fn release(&mut self) {
        let first = self.rows.iter_mut().find(|row| row.is_open());
        if let Some(row) = first.filter(|row| row.state == DeliveryState::Waiting) {
            row.state = DeliveryState::Pending;
        }
    }

    fn settled(&self) -> bool {
        self.rows.iter().all(|row| !row.is_open())
    }
}

const ORDER: &str = "no version is tried before the one before it was accepted or given up";
const DONE: &str = "what is done was accepted";
const LEASE: &str = "a failure settles nothing that somebody else has taken";
const END: &str = "where nothing can happen any more, every delivery is settled";

impl Model for Delivering {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            written: 0,
            rows: Vec::new(),
            reading: None,
            workers: vec![Worker::Idle; self.workers],
            accepted: vec![0; self.versions],
            refusals: self.refusals,
            crashes: self.crashes,
            ends: self.ends,
            resends: self.resends,
            disorder: false,
            stale: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.written < self.versions {
            actions.push(Action::Write);
        }
        match state.reading {
            None if state.rows.len() < state.written => actions.push(Action::Read),
            None => {}
            Some(_) => actions.push(Action::Insert),
        }
        let first = state.rows.iter().find(|row| row.is_open());
        let waits = first.is_some_and(|row| row.state == DeliveryState::Waiting);
        if waits && self.blind != Some(Blind::NoRelease) {
            actions.push(Action::Release);
        }
        for (number, worker) in state.workers.iter().enumerate() {
            match worker {
                Worker::Idle => {
                    let is_due = |row: &Row| row.state == DeliveryState::Pending && !row.leased;
                    let due = state.rows.iter().enumerate().filter(|(_, row)| is_due(row));
                    actions.extend(due.map(|(version, _)| Action::Take(number, version)));
                }
                Worker::Holds { .. } => {
                    actions.push(Action::Accept(number));
                    if state.refusals > 0 {
                        actions.push(Action::Refuse(number));
                    }
                }
                Worker::Knows { .. } => actions.push(Action::Settle(number)),
            }
            if *worker != Worker::Idle && state.crashes > 0 {
                actions.push(Action::Crash(number));
            }
        }
        for (version, row) in state.rows.iter().enumerate() {
            let is_held = state.workers.iter().any(|worker| match worker {
                Worker::Idle => false,
                Worker::Holds { lease, .. } | Worker::Knows { lease, .. } => {
                    *lease == row.lease && worker_version(worker) == Some(version)
                }
            });
            // The lease of a worker that died ends for certain; that of another, if it is slow.
            if row.leased && (!is_held || state.ends > 0) {
                actions.push(Action::LeaseEnds(version));
            }
            if state.resends > 0 {
                actions.push(Action::Resend(version));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write => state.written += 1,
            Action::Read => {
                let is_open = state.rows.iter().any(Row::is_open);
                state.reading = Some(is_open && self.blind != Some(Blind::NoOrder));
            }
            Action::Insert => {
                let waits = state.reading.take()?;
                let delivery = if waits { DeliveryState::Waiting } else { DeliveryState::Pending };
                state.rows.push(Row { state: delivery, lease: 0, leased: false, tries: 0 });
            }
            Action::Release => state.release(),
            Action::Take(worker, version) => {
                let row = &mut state.rows[version];
                (row.lease, row.leased, row.tries) = (row.lease + 1, true, row.tries + 1);
                state.workers[worker] = Worker::Holds { version, lease: row.lease };
            }
            Action::Accept(worker) | Action::Refuse(worker) => {
                let Worker::Holds { version, lease } = state.workers[worker] else { return None };
                state.try_version(version);
                let accepted = matches!(action, Action::Accept(_));
                if accepted {
                    state.accepted[version] = (state.accepted[version] + 1).min(2);
                } else {
                    state.refusals -= 1;
                }
                state.workers[worker] = Worker::Knows { version, lease, accepted };
            }
            Action::Settle(worker) => self.settle(&mut state, worker)?,
            Action::Crash(worker) => {
                state.crashes -= 1;
                state.workers[worker] = Worker::Idle;
            }
            Action::LeaseEnds(version) => {
                let held = state.workers.iter().any(|w| worker_version(w) == Some(version));
                if held {
                    state.ends = state.ends.saturating_sub(1);
                }
                state.rows[version].leased = false;
            }
            Action::Resend(version) => {
                state.resends -= 1;
                let row = &mut state.rows[version];
                (row.state, row.leased, row.tries) = (DeliveryState::Pending, false, 0);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ORDER, |_, state: &State| !state.disorder),
            Property::always(DONE, |_, state: &State| {
                let mut rows = state.rows.iter().zip(&state.accepted);
                rows.all(|(row, accepted)| row.state != DeliveryState::Done || *accepted > 0)
            }),
            Property::always(LEASE, |_, state: &State| !state.stale),
            Property::always(END, |model: &Delivering, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                !actions.is_empty() || state.settled()
            }),
            Property::sometimes("all are done", |model: &Delivering, state: &State| {
                let done = |row: &Row| row.state == DeliveryState::Done;
                state.rows.len() == model.versions && state.rows.iter().all(done)
            }),
            Property::sometimes("one is accepted twice", |_, state: &State| {
                state.accepted.contains(&2)
            }),
        ]
    }
}

impl Delivering {
    fn settle(&self, state: &mut State, worker: usize) -> Option<()> {
        let Worker::Knows { version, lease, accepted } = state.workers[worker] else { return None };
        state.workers[worker] = Worker::Idle;
        let row = &mut state.rows[version];
        let holds = row.lease == lease || self.blind == Some(Blind::AnyFailure);
        if !settles(accepted, row.state, holds) {
            return Some(());
        }
        state.stale |= !accepted && row.lease != lease;
        row.leased = false;
        row.state = match accepted {
            true => DeliveryState::Done,
            false if row.tries >= self.tries => DeliveryState::Failed,
            false => DeliveryState::Pending,
        };
        if !row.is_open() {
            state.release();
        }
        Some(())
    }
}

fn worker_version(worker: &Worker) -> Option<usize> {
    match worker {
        Worker::Idle => None,
        Worker::Holds { version, .. } | Worker::Knows { version, .. } => Some(*version),
    }
}

fn usual() -> Delivering {
    Delivering {
        versions: 3,
        workers: 2,
        tries: 2,
        refusals: 2,
        crashes: 1,
        ends: 1,
        resends: 0,
        blind: None,
    }
}

#[test]
fn deliveries_come_in_order_and_none_is_forgotten() {
    for model in [usual(), Delivering { versions: 2, workers: 3, crashes: 2, ends: 2, ..usual() }] {
        let checker = model.checker().spawn_bfs().join();
        println!("{} states", checker.unique_state_count());
        checker.assert_properties();
    }
    // Whoever orders a delivery again waits for no order; all else holds.
    let resent = Delivering { versions: 2, resends: 1, ..usual() };
    let checker = resent.checker().spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    for property in [DONE, LEASE, END] {
        assert_eq!(checker.discovery(property), None, "{property}");
    }
}

#[test]
fn each_mistake_is_noticed() {
    for (blind, noticed_by) in
        [(Blind::NoRelease, END), (Blind::AnyFailure, LEASE), (Blind::NoOrder, ORDER)]
    {
        let model = Delivering { blind: Some(blind), ..usual() };
        let any = HasDiscoveries::AnyOf([noticed_by].into());
        let checker = model.checker().finish_when(any).spawn_bfs().join();
        assert!(checker.discovery(noticed_by).is_some(), "{blind:?}");
    }
}
