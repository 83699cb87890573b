//! The change feed as a state machine: writers whose transactions come in any order, and a follower
//! who reads a page at any moment. What a snapshot shows, and where a page leads, are the functions
//! that the product runs; the rows of a page are those of the statement in
//! `store/events/changes.rs`.

use stateright::{Checker, HasDiscoveries, Model, Property};
use taskd::domain::event::snapshot::{Cursor, Newest, Snapshot};
use taskd::feed::Stretch;
use taskd::store::events::changes::{Change, Moment};

/// The task that several writers change.
const SHARED: i64 = 0;

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Changes the shared task: its number is drawn under the lock on the row.
    Shared,
    /// Makes two tasks of its own, with whatever comes in between.
    Twice,
    /// Writes no event, and commits without waiting for the disk.
    Quiet,
}

/// A mistake on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blind {
    /// A cursor is a sequence number.
    Numbers,
    /// What is late is looked for among the transactions that were open, and not among later ones.
    Later,
    /// A snapshot shows whatever transaction has ended, with an event or without.
    Unbounded,
    /// A page is in the order of transactions.
    ByTransaction,
}

#[derive(Clone)]
struct Following {
    writers: &'static [Kind],
    /// How many rows a page has.
    rows: usize,
    crashes: u8,
    blind: Option<Blind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Waits,
    Begun,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Writer {
    phase: Phase,
    transaction: i64,
    written: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    transaction: i64,
    seq: i64,
    task: i64,
    version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    writers: Vec<Writer>,
    next_transaction: i64,
    /// The latest transaction that has ended.
    ended: i64,
    /// The latest whose commit is on disk.
    on_disk: i64,
    next_seq: i64,
    /// Who holds the lock on the shared task, and its version.
    locked_by: Option<usize>,
    version: i64,
    committed: Vec<Row>,
    cursor: Cursor,
    told: Vec<(i64, i64)>,
    crashes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    Begin(usize),
    Write(usize),
    Commit(usize),
    Abort(usize),
    Read,
    Crash,
}

impl Following {
    fn new(writers: &'static [Kind], rows: usize) -> Following {
        Following { writers, rows, crashes: 0, blind: None }
    }

    fn wanted(&self, writer: usize) -> usize {
        match self.writers[writer] {
            Kind::Shared => 1,
            Kind::Twice => 2,
            Kind::Quiet => 0,
        }
    }

    /// The statement: what is committed, and the rows beyond the cursor.
    fn read(&self, state: &State) -> Stretch {
        let next = state.ended + 1;
        let running = state.writers.iter().filter(|writer| writer.phase == Phase::Begun);
        let open: Vec<String> = running
            .filter(|writer| writer.transaction < next)
            .map(|writer| writer.transaction.to_string())
            .collect();
        let text = format!("1:{next}:{}", open.join(","));
        let top = state.committed.iter().map(|row| row.transaction).max().unwrap_or_default();
        let top = if self.blind == Some(Blind::Unbounded) { state.ended } else { top };
        let seq = state.committed.iter().map(|row| row.seq).max().unwrap_or_default();
        let newest = Newest { transaction: top, seq, event: 0 };
        let snapshot = Snapshot::new(&text, newest, 0).unwrap();
        let cursor = &state.cursor;
        let (after, last) = (cursor.after(), cursor.seen.last_seq());
        let up_to = cursor.within.as_ref().map_or(i64::MAX, |within| within.to.last_seq());
        let begun_later = |row: &Row| {
            let sought = ![Some(Blind::Later), Some(Blind::Numbers)].contains(&self.blind);
            sought && row.transaction >= cursor.seen.next() && row.transaction <= cursor.late()
        };
        let was_open = |row: &Row| {
            self.blind != Some(Blind::Numbers)
                && row.transaction < cursor.seen.next()
                && cursor.seen.open().contains(&row.transaction)
        };
        let is_late = |row: &&Row| row.seq <= last && (begun_later(row) || was_open(row));
        let late = state.committed.iter().filter(is_late).filter(|row| begun_later(row));
        let late = late.map(|row| row.transaction).max().unwrap_or_default();
        let unseen =
            |row: &&Row| row.seq > after && (row.seq > last && row.seq <= up_to || is_late(row));
        let mut rows: Vec<Row> = state.committed.iter().filter(unseen).copied().collect();
        rows.sort_by_key(|row| match self.blind {
            Some(Blind::ByTransaction) => row.transaction,
            _ => row.seq,
        });
        rows.truncate(self.rows);
        let moment =
            Moment { history: String::new(), timeline: 1, snapshot, purged_before: 0, late };
        Stretch::of(cursor, moment, rows.into_iter().map(change).collect(), self.rows)
    }
}

fn change(row: Row) -> Change {
    Change {
        id: uuid::Uuid::nil(),
        seq: row.seq,
        transaction: row.transaction,
        event_type: String::new(),
        kind: String::new(),
        subject_id: row.task,
        version: row.version,
        occurred_at: chrono::DateTime::UNIX_EPOCH,
        user_before: None,
        user_after: None,
        payload: None,
        tells: true,
    }
}

impl State {
    /// Whether a row is behind the cursor.
    fn is_behind(&self, row: &Row) -> bool {
        let within = self.cursor.within.as_ref();
        self.cursor.seen.shows(row.transaction)
            || within.is_some_and(|w| w.to.shows(row.transaction) && row.seq <= w.after)
    }

    fn end(&mut self, writer: usize, phase: Phase) {
        self.ended = self.ended.max(self.writers[writer].transaction);
        self.writers[writer].phase = phase;
        if self.locked_by == Some(writer) {
            self.locked_by = None;
        }
    }
}

const EVERYTHING: &str = "what is behind the cursor was told, and nothing else";
const ONCE: &str = "nothing is told twice";
const IN_ORDER: &str = "the versions of a task come in order";

impl Model for Following {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writer = Writer { phase: Phase::Waits, transaction: 0, written: Vec::new() };
        let cursor =
            Cursor { history: String::new(), timeline: 1, seen: Snapshot::default(), within: None };
        vec![State {
            writers: vec![writer; self.writers.len()],
            next_transaction: 1,
            ended: 0,
            on_disk: 0,
            next_seq: 1,
            locked_by: None,
            version: 0,
            committed: Vec::new(),
            cursor,
            told: Vec::new(),
            crashes: self.crashes,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, writer) in state.writers.iter().enumerate() {
            match writer.phase {
                Phase::Waits => actions.push(Action::Begin(number)),
                Phase::Begun if writer.written.len() < self.wanted(number) => {
                    let is_shared = self.writers[number] == Kind::Shared;
                    if !is_shared || state.locked_by.is_none() {
                        actions.push(Action::Write(number));
                    }
                    actions.push(Action::Abort(number));
                }
                Phase::Begun => {
                    actions.extend([Action::Commit(number), Action::Abort(number)]);
                }
                Phase::Committed | Phase::Aborted => {}
            }
        }
        actions.push(Action::Read);
        if state.crashes > 0 {
            actions.push(Action::Crash);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(number) => {
                let writer = &mut state.writers[number];
                writer.phase = Phase::Begun;
                writer.transaction = state.next_transaction;
                state.next_transaction += 1;
            }
            Action::Write(number) => {
                let (task, version) = match self.writers[number] {
                    Kind::Shared => (SHARED, state.version + 1),
                    _ => {
                        let count = state.writers[number].written.len() as i64;
                        (100 * (number as i64 + 1) + count, 1)
                    }
                };
                if task == SHARED {
                    state.locked_by = Some(number);
                }
                let writer = &mut state.writers[number];
                let row =
                    Row { transaction: writer.transaction, seq: state.next_seq, task, version };
                writer.written.push(row);
                state.next_seq += 1;
            }
            Action::Commit(number) => {
                let written = std::mem::take(&mut state.writers[number].written);
                if !written.is_empty() {
                    // It waits for the disk, and all that was committed before is on it then too.
                    state.on_disk = state.on_disk.max(state.writers[number].transaction);
                }
                if written.iter().any(|row| row.task == SHARED) {
                    state.version += 1;
                }
                state.committed.extend(written);
                state.end(number, Phase::Committed);
            }
            Action::Abort(number) => {
                state.writers[number].written.clear();
                state.end(number, Phase::Aborted);
            }
            Action::Read => {
                let stretch = self.read(&state);
                for change in stretch.unseen(&state.cursor) {
                    state.told.push((change.subject_id, change.version));
                }
                state.cursor = stretch.end(&state.cursor);
            }
            Action::Crash => {
                state.crashes -= 1;
                for number in 0..state.writers.len() {
                    if state.writers[number].phase == Phase::Begun {
                        state.writers[number].written.clear();
                        state.end(number, Phase::Aborted);
                    }
                }
                // Ids that nothing on disk has are given again.
                state.ended = state.on_disk;
                state.next_transaction = state.on_disk + 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(EVERYTHING, |_, state: &State| {
                let is_told = |row: &Row| state.told.contains(&(row.task, row.version));
                state.committed.iter().all(|row| state.is_behind(row) == is_told(row))
            }),
            Property::always(ONCE, |_, state: &State| {
                (1..state.told.len()).all(|at| !state.told[..at].contains(&state.told[at]))
            }),
            Property::always(IN_ORDER, |_, state: &State| {
                let shared = state.told.iter().filter(|(task, _)| *task == SHARED);
                shared.map(|(_, version)| *version).is_sorted()
            }),
            Property::sometimes("all are told", |model: &Following, state: &State| {
                let all: usize = (0..model.writers.len()).map(|writer| model.wanted(writer)).sum();
                state.told.len() == all
            }),
            Property::sometimes(
                "one is in the midst of a page",
                |model: &Following, state: &State| {
                    // A page for all of them is never full.
                    state.cursor.within.is_some() || model.rows > state.writers.len() * 2
                },
            ),
        ]
    }
}

impl Following {
    fn holds(self, name: &str) {
        let checker = self.checker().spawn_dfs().join();
        println!("{name}: {} unique states", checker.unique_state_count());
        checker.assert_properties();
    }

    fn fails(self, property: &'static str) {
        let blind = self.blind;
        let finish = HasDiscoveries::AllOf([property].into());
        let checker = self.checker().finish_when(finish).spawn_bfs().join();
        let path =
            checker.discovery(property).unwrap_or_else(|| panic!("{blind:?}: {property} holds"));
        println!("{blind:?}: \"{property}\" fails: {:?}", path.into_actions());
    }
}

#[test]
fn a_follower_is_told_everything_once_and_in_order() {
    const WRITERS: &[Kind] = &[Kind::Shared, Kind::Shared, Kind::Twice];
    for rows in [1, 2, 7] {
        Following::new(WRITERS, rows).holds(&format!("pages of {rows}"));
    }
}

#[test]
fn a_follower_is_told_what_comes_after_a_crash_too() {
    const WRITERS: &[Kind] = &[Kind::Shared, Kind::Twice, Kind::Quiet];
    Following { crashes: 1, ..Following::new(WRITERS, 2) }.holds("a crash");
}

#[test]
fn each_mistake_about_cursors_is_noticed() {
    const TWO: &[Kind] = &[Kind::Shared, Kind::Twice];
    const QUIET: &[Kind] = &[Kind::Shared, Kind::Quiet];
    const SHARED_TWICE: &[Kind] = &[Kind::Shared, Kind::Shared];
    for (blind, writers, crashes, property) in [
        (Blind::Numbers, TWO, 0, EVERYTHING),
        (Blind::Later, TWO, 0, EVERYTHING),
        (Blind::Unbounded, QUIET, 1, EVERYTHING),
        (Blind::ByTransaction, SHARED_TWICE, 0, IN_ORDER),
    ] {
        let blind = Some(blind);
        Following { crashes, blind, ..Following::new(writers, 7) }.fails(property);
    }
}
