//! The faults, and what each explains.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use taskd::domain::processing::retry::DeadReason;

use super::system::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Postgres,
    Rabbitmq,
    Redis,
}
use Service::{Postgres, Rabbitmq, Redis};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// SIGKILL, and a new process in its place.
    Kill(Role),
    /// SIGSTOP for some seconds, then SIGCONT.
    Freeze(Role),
    /// A worker is frozen with mails in hand until its leases have run out.
    LeaseRunsOut,
    /// It is stopped in order, and started again some seconds later.
    Restart(Service),
    /// It is killed, and started again some seconds later.
    Crash(Service),
    /// It stands still, with all its connections.
    Stall,
    /// Its connections are reset, and new ones for some seconds.
    Cut(Service),
    /// Its connections swallow what is sent, and nobody is told.
    HalfOpen(Service),
    Slow(Service),
    Throttled(Service),
    Mail(&'static str),
    /// The mail server is away until its breaker has opened and probed, and a worker is killed
    /// meanwhile.
    Outage,
    /// An operator pauses the mails and resumes them, and a worker is killed in between.
    Pause,
    /// The endpoints of webhooks behave like this for some seconds.
    Receivers(&'static str),
    /// A queue that somebody else has bound to the exchange is full and refuses messages.
    OthersFull,
    /// Copies of messages that were published before.
    Duplicates,
    /// Copies of messages whose mails a worker is just sending: the mail server has not answered yet.
    CopiesInHand,
    /// Messages of somebody else who may publish: unsigned, changed after they were signed, or with a header
    /// of ours added.
    Forged,
    /// Copies of messages, the latest first, beside those that are being published.
    Disorder,
    /// The queues are deleted, once they are empty.
    TopologyDeleted,
    /// RabbitMQ has no room left and takes no messages.
    BrokerDiskFull,
    /// PostgreSQL has no room left and answers every insert with that.
    DatabaseDiskFull,
    /// PostgreSQL can only be read, as an old primary after a failover.
    ReadOnly,
}

/// For how long after its end a fault may still be felt: a request that hung in it answers after its
/// deadline of 10 s, a silent connection is given up after 15 or 20 s.
pub const FELT_AFTER: TimeDelta = TimeDelta::seconds(30);

/// No effect of a worker that is gone is run again sooner: its claim holds for 25 s.
const NO_SOONER: TimeDelta = TimeDelta::seconds(20);
/// How long a fault waits, once its worker goes on, until what it had in hand is recorded: a worker
/// that is killed before that repeats it.
pub const RECORDED_WITHIN: Duration = Duration::from_secs(2);
/// How long a mail may take.
const RUN_TIMEOUT: TimeDelta = TimeDelta::seconds(16);

/// Every fault by its name.
const FAULTS: [(&str, Kind); 47] = [
    ("kill-serve", Kind::Kill(Role::Serve)),
    ("kill-work", Kind::Kill(Role::Work)),
    ("kill-purge", Kind::Kill(Role::Purge)),
    ("freeze-serve", Kind::Freeze(Role::Serve)),
    ("freeze-work", Kind::Freeze(Role::Work)),
    ("freeze-purge", Kind::Freeze(Role::Purge)),
    ("lease-runs-out", Kind::LeaseRunsOut),
    ("postgres-restart", Kind::Restart(Postgres)),
    ("rabbitmq-restart", Kind::Restart(Rabbitmq)),
    ("redis-restart", Kind::Restart(Redis)),
    ("postgres-crash", Kind::Crash(Postgres)),
    ("rabbitmq-crash", Kind::Crash(Rabbitmq)),
    ("redis-crash", Kind::Crash(Redis)),
    ("redis-stall", Kind::Stall),
    ("postgres-cut", Kind::Cut(Postgres)),
    ("rabbitmq-cut", Kind::Cut(Rabbitmq)),
    ("redis-cut", Kind::Cut(Redis)),
    ("postgres-half-open", Kind::HalfOpen(Postgres)),
    ("rabbitmq-half-open", Kind::HalfOpen(Rabbitmq)),
    ("redis-half-open", Kind::HalfOpen(Redis)),
    ("postgres-slow", Kind::Slow(Postgres)),
    ("rabbitmq-slow", Kind::Slow(Rabbitmq)),
    ("redis-slow", Kind::Slow(Redis)),
    ("postgres-throttled", Kind::Throttled(Postgres)),
    ("rabbitmq-throttled", Kind::Throttled(Rabbitmq)),
    ("redis-throttled", Kind::Throttled(Redis)),
    ("mail-refuses", Kind::Mail("refuses")),
    ("mail-hangs", Kind::Mail("hangs")),
    ("mail-4xx", Kind::Mail("4xx")),
    ("mail-5xx", Kind::Mail("5xx")),
    ("mail-drops", Kind::Mail("drops")),
    ("receiver-hangs", Kind::Receivers("hangs")),
    ("receiver-refuses", Kind::Receivers("refuses")),
    ("receiver-500", Kind::Receivers("500")),
    ("receiver-drops", Kind::Receivers("drops")),
    ("receiver-lies", Kind::Receivers("lies")),
    ("mail-outage", Kind::Outage),
    ("effect-paused", Kind::Pause),
    ("others-full", Kind::OthersFull),
    ("duplicates", Kind::Duplicates),
    ("copies-in-hand", Kind::CopiesInHand),
    ("disorder", Kind::Disorder),
    ("forged", Kind::Forged),
    ("topology-deleted", Kind::TopologyDeleted),
    ("rabbitmq-disk-full", Kind::BrokerDiskFull),
    ("postgres-disk-full", Kind::DatabaseDiskFull),
    ("postgres-read-only", Kind::ReadOnly),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    pub name: &'static str,
    pub kind: Kind,
}

/// The faults of these names, or every one.
///
/// # Errors
/// Names the one there isn't.
pub fn chosen(names: &[String]) -> Result<Vec<Fault>, String> {
    let all = || FAULTS.iter().map(|(name, kind)| Fault { name, kind: *kind });
    if names.is_empty() {
        return Ok(all().collect());
    }
    let find = |name: &String| {
        all().find(|fault| fault.name == name).ok_or_else(|| {
            let known: Vec<&str> = all().map(|fault| fault.name).collect();
            format!("there is no fault {name:?}; there are: {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// The order in which faults come: each once in a random order, then again.
pub fn shuffled(faults: &[Fault], random: &mut StdRng) -> Vec<Fault> {
    let mut faults = faults.to_vec();
    faults.shuffle(random);
    // RabbitMQ 3.10 that is killed after a quorum queue was deleted and declared again, and before it
    // was stopped in order, comes back without the queue's process, and answers 541 to whoever opens
    // the queue: nothing that a client could mend. So between the two it is restarted.
    const APART: [Kind; 3] =
        [Kind::Crash(Rabbitmq), Kind::TopologyDeleted, Kind::Restart(Rabbitmq)];
    let places: Vec<usize> =
        (0..faults.len()).filter(|at| APART.contains(&faults[*at].kind)).collect();
    let mut apart: Vec<Fault> = places.iter().map(|at| faults[*at]).collect();
    apart.sort_by_key(|fault| APART.iter().position(|kind| *kind == fault.kind));
    for (at, fault) in places.into_iter().zip(apart) {
        faults[at] = fault;
    }
    faults
}

/// A fault that was injected: from when to when it lasted.
#[derive(Debug, Clone)]
pub struct Injected {
    pub fault: Fault,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Fault {
    /// Whether a mail that the server had at `at` may be sent again, at `again`, because of it: the worker
    /// was killed, or its lease ran out, before it could record that; or the server never said it had it.
    /// A record takes a moment, or longer where the database is `held_up`.
    pub fn repeats_mail(
        &self,
        [at, again]: [DateTime<Utc>; 2],
        [from, until]: [DateTime<Utc>; 2],
        held_up: bool,
    ) -> bool {
        let moment = TimeDelta::seconds(1);
        let record = if held_up { FELT_AFTER } else { moment };
        let after_the_lease = again - at >= NO_SOONER;
        match self.kind {
            Kind::Kill(Role::Work) | Kind::Outage | Kind::Pause => {
                from - record <= at && at <= until + moment && after_the_lease
            }
            // Another worker's when the lease has run out, and the frozen one's when it goes on.
            Kind::LeaseRunsOut => {
                let went_on = until - RECORDED_WITHIN - moment;
                let goes_on = went_on <= again && again <= until + RUN_TIMEOUT;
                from - record <= at && at <= until + moment && (after_the_lease || goes_on)
            }
            Kind::Mail("drops") => from <= at && at <= until + moment,
            _ => false,
        }
    }

    /// Whether a delivery that an endpoint had at `at` may be sent again, at `again`, because of it: the
    /// worker was killed or stood still before it had recorded that, or the database was away.
    pub fn repeats_delivery(
        &self,
        [at, again]: [DateTime<Utc>; 2],
        [from, until]: [DateTime<Utc>; 2],
    ) -> bool {
        let is_cause = match self.kind {
            Kind::Kill(role) | Kind::Freeze(role) => role == Role::Work,
            Kind::Outage | Kind::Pause | Kind::LeaseRunsOut => true,
            _ => self.holds_records_up(),
        };
        is_cause && from - FELT_AFTER <= again && at <= until + FELT_AFTER
    }

    /// Whether what is done can't be recorded at once because of it.
    pub fn holds_records_up(&self) -> bool {
        match self.kind {
            Kind::Restart(service)
            | Kind::Crash(service)
            | Kind::Cut(service)
            | Kind::HalfOpen(service)
            | Kind::Slow(service)
            | Kind::Throttled(service) => service == Postgres,
            Kind::DatabaseDiskFull | Kind::ReadOnly => true,
            _ => false,
        }
    }

    /// Whether a message may die of it for this reason.
    pub fn kills(&self, reason: &str) -> bool {
        match self.kind {
            Kind::Mail("5xx") => reason == DeadReason::Permanent.as_str(),
            Kind::Forged => reason == DeadReason::NotOurs.as_str(),
            _ => false,
        }
    }

    /// Whether a write may have been carried out although it was answered 5xx: its answer came after
    /// the deadline, or the database was lost in mid-commit.
    pub fn hides_writes(&self) -> bool {
        match self.kind {
            Kind::Freeze(Role::Serve) => true,
            Kind::Restart(service)
            | Kind::Crash(service)
            | Kind::Cut(service)
            | Kind::HalfOpen(service)
            | Kind::Slow(service)
            | Kind::Throttled(service) => service != Rabbitmq,
            Kind::Stall => true,
            _ => false,
        }
    }
}
