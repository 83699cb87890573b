//! What the model knows of the world: the outbox, the queues, the records of effects, and who is at
//! what. Workers and publishers are interchangeable, so a state has them sorted.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use taskd::domain::processing::claim::Record;
use taskd::domain::processing::failure::{Failure, Failures, Hold};
use taskd::domain::processing::retention::{self, Trace};
use taskd::idempotency::LEASE;

/// The effect in the database, `Effect::Activity`.
pub const DATABASE: usize = 0;
/// The effect outside, `Effect::Email`.
pub const OUTSIDE: usize = 1;
/// How many effects an event has.
pub const EFFECTS: usize = 2;
/// `PROCESSED_RETENTION`.
pub const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// The time at a tick of the model's clock; from one to the next is more than the retention.
pub fn at(tick: u8) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(100 + 31 * i64::from(tick))
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub events: Vec<Event>,
    /// What is in a queue; sorted, since any may be delivered next.
    pub messages: Vec<Message>,
    pub workers: Vec<Worker>,
    pub publishers: Vec<Publisher>,
    /// The letter whose copy `taskd dlq replay` has published and which it has yet to remove.
    pub replaying: Option<Message>,
    /// The parked message whose copy a keeper has published and whose row it has yet to delete; and
    /// whether the row is still leased to it.
    pub returning: Option<(Message, bool)>,
    pub tick: u8,
    pub left: Budget,
}

/// How often each thing may still happen. All of them end, so every path does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Processes that are killed.
    pub crashes: u8,
    /// Connections to the broker that are cut under a worker.
    pub cuts: u8,
    /// Publications that arrive without a confirm.
    pub losses: u8,
    /// Failures of an effect, or of a publication.
    pub failures: u8,
    /// Processes that stand still for longer than their lease.
    pub stalls: u8,
    pub replays: u8,
    pub discards: u8,
    /// Times that the gate of an effect is closed when a message comes to it.
    pub holds: u8,
    /// Times that the retention passes.
    pub ticks: u8,
}

/// A change, its event and what is on record about it. `runs` and what follows is what really
/// happened, which no process knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Event {
    pub committed: bool,
    pub outbox: Outbox,
    pub records: [Option<Row>; EFFECTS],
    pub runs: [u8; EFFECTS],
    /// How often a fault came between the outside effect and its record.
    pub excuses: u8,
    pub forgotten: bool,
    pub discarded: bool,
    /// A message was acked as done while an effect had never happened.
    pub dropped: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Outbox {
    /// There is no row.
    #[default]
    Absent,
    /// The task is committed and its event is not written: only with a defect.
    Unwritten,
    Waiting,
    Leased {
        expired: bool,
    },
    /// Marked at this tick.
    Published(u8),
}

/// A row of `processed_messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub state: RowState,
    /// The tick of `touched_at`.
    pub touched: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowState {
    Open,
    Claimed { expired: bool },
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub event: u8,
    pub place: Place,
    pub attempt: u8,
    /// The header `taskd-recorded`.
    pub recorded: bool,
    /// What the broker counts.
    pub deliveries: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Main,
    Delayed,
    /// Delayed too, for the time of another worker's lease.
    Parked,
    /// A row of `parked_messages`.
    Gated,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    Idle,
    Busy(Job),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Job {
    pub message: Message,
    pub step: Step,
    pub progress: [Progress; EFFECTS],
    /// The claim on record is this worker's.
    pub claims: bool,
    /// The broker no longer has this delivery as ours: an ack says nothing.
    pub cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Before the database effect.
    Taken,
    /// It was looked up and found missing: only with a defect.
    Checked,
    Unclaimed,
    Claimed,
    /// The outside effect has happened and is not on record.
    Ran,
    /// All was tried.
    Tried,
    /// What is to come is on record.
    LeftOpen,
    /// A copy is where it belongs.
    PassedOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Progress {
    Open,
    Done,
    Transient,
    Permanent,
    Leased,
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Publisher {
    Idle,
    /// Has leased an event; `owns` is false once another has the lease.
    Leased {
        event: u8,
        owns: bool,
    },
    Confirmed {
        event: u8,
        owns: bool,
    },
    Unconfirmed {
        event: u8,
        owns: bool,
    },
}

impl Row {
    /// What the claim is decided by.
    pub fn record(self) -> Record {
        match self.state {
            RowState::Open => Record::Open,
            RowState::Claimed { expired: true } => Record::Claimed(Duration::ZERO),
            RowState::Claimed { expired: false } => Record::Claimed(LEASE),
            RowState::Done => Record::Done,
        }
    }

    /// What forgetting is decided by.
    pub fn trace(self) -> Trace {
        Trace { done: self.state == RowState::Done, touched_at: at(self.touched) }
    }
}

impl Event {
    pub fn unpublished(&self) -> bool {
        matches!(self.outbox, Outbox::Waiting | Outbox::Leased { .. })
    }

    /// What forgetting is decided by.
    pub fn sent(&self) -> retention::Outbox {
        match self.outbox {
            Outbox::Published(tick) => retention::Outbox::Published(at(tick)),
            _ => retention::Outbox::Unpublished,
        }
    }

    /// Whether each effect has happened.
    pub fn happened(&self) -> bool {
        self.runs.iter().all(|runs| *runs > 0)
    }

    /// Whether each effect is on record as done, or was.
    pub fn finished(&self) -> bool {
        self.forgotten
            || self.records.iter().all(|row| row.is_some_and(|row| row.state == RowState::Done))
    }
}

impl Job {
    /// What stands in the way of the ack.
    pub fn failures(&self) -> Option<Failures> {
        let failures = self.progress.iter().filter_map(|progress| match progress {
            Progress::Transient => Some(Failure::transient("")),
            Progress::Permanent => Some(Failure::permanent("")),
            Progress::Leased => Some(Failure::waiting(LEASE, "leased")),
            Progress::Held => Some(Failure::held(Hold::default(), "paused")),
            Progress::Open | Progress::Done => None,
        });
        Failures::of(failures)
    }
}

impl Worker {
    pub fn job(&self) -> Option<&Job> {
        match self {
            Worker::Idle => None,
            Worker::Busy(job) => Some(job),
        }
    }
}

impl Publisher {
    /// The event it has leased, and whether the lease is still its own.
    pub fn lease(&self) -> Option<(u8, bool)> {
        match *self {
            Publisher::Idle => None,
            Publisher::Leased { event, owns }
            | Publisher::Confirmed { event, owns }
            | Publisher::Unconfirmed { event, owns } => Some((event, owns)),
        }
    }
}

impl State {
    /// Every copy of an event's message, in queues and in hands.
    pub fn copies(&self, event: usize) -> impl Iterator<Item = &Message> {
        let in_hand = self.workers.iter().filter_map(|w| w.job().map(|job| &job.message));
        self.messages.iter().chain(in_hand).filter(move |m| usize::from(m.event) == event)
    }

    /// Whether a worker lives that has claimed this event's outside effect.
    pub fn claimant_lives(&self, event: usize) -> bool {
        let mut jobs = self.workers.iter().filter_map(Worker::job);
        jobs.any(|job| job.claims && usize::from(job.message.event) == event)
    }

    /// Whether a publisher lives that has leased this event.
    pub fn leaser_lives(&self, event: usize) -> bool {
        let mut leases = self.publishers.iter().filter_map(Publisher::lease);
        leases.any(|(leased, owns)| owns && usize::from(leased) == event)
    }

    /// One order for what has none, so that states which differ in it alone are one.
    pub fn sort(&mut self) {
        self.messages.sort_unstable();
        self.workers.sort_unstable();
        self.publishers.sort_unstable();
    }
}
