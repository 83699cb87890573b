//! Hands new events directly to the publisher of the same process.
//!
//! An event is written already leased to that publisher and handed over in memory after the commit,
//! so the publisher needn't look for it in the outbox. This is only a shortcut: an event that is
//! not handed over, for whatever reason, is free when its lease ends, and is found in the outbox
//! like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use super::message::{self, Publishable};
use crate::domain::event::NewEvent;
use crate::ground::telemetry::Metrics;
use crate::store::delivery::outbox::Lease;

/// How long an event is leased. If the publisher is killed, its events wait until the lease ends.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How many handed-over events may wait to be published: as many as a broker confirms in a fraction
/// of the lease.
const MOST_WAITING: usize = 2_048;

/// What the writers of events share with the publisher of their process.
#[derive(Clone)]
pub struct Handover(Arc<Channel>);

struct Channel {
    owner: Uuid,
    /// Whether the publisher accepts handed-over events: not while it is behind or the broker is
    /// away.
    open: AtomicBool,
    room: Arc<Semaphore>,
    events: UnboundedSender<LeasedBatch>,
    writes: IntCounter,
    written: IntCounter,
    /// Whether the outbox has events that nobody has leased.
    left: AtomicBool,
    woken: Notify,
}

/// The events of one statement, handed over together.
pub(super) struct LeasedBatch {
    pub(super) events: Vec<Publishable>,
    /// When their lease ends, or slightly earlier: it is counted from before the statement.
    pub(super) leased_until: Instant,
    _room: OwnedSemaphorePermit,
}

/// Permission to write events that are already leased to the publisher, if it had room for them.
/// Each write takes one.
pub struct Ticket {
    handover: Handover,
    reserved: Option<(Instant, OwnedSemaphorePermit)>,
}

impl Handover {
    /// The metrics count committed writes and their events.
    pub(super) fn new(metrics: &Metrics) -> (Handover, UnboundedReceiver<LeasedBatch>) {
        let (events, handed) = unbounded_channel();
        let shared = Channel {
            owner: Uuid::now_v7(),
            open: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(MOST_WAITING)),
            events,
            writes: metrics.task_writes.clone(),
            written: metrics.events_written.clone(),
            left: AtomicBool::new(false),
            woken: Notify::new(),
        };
        (Handover(Arc::new(shared)), handed)
    }

    /// A ticket for a write of at most this many events. Take it before the statement runs, so that
    /// the lease doesn't end earlier in the database than here.
    pub fn ticket(&self, events: usize) -> Ticket {
        let leased_until = Instant::now() + LEASE;
        let room = u32::try_from(events).ok().filter(|_| self.0.open.load(Ordering::Acquire));
        let room = room.and_then(|n| Arc::clone(&self.0.room).try_acquire_many_owned(n).ok());
        if room.is_none() {
            // This write's events stay in the outbox, and later ones must not overtake them.
            self.close();
        }
        Ticket { handover: self.clone(), reserved: room.map(|room| (leased_until, room)) }
    }

    /// Counts a committed write that has left so many events in the outbox, and wakes the
    /// publisher.
    pub fn written(&self, events: usize) {
        self.0.writes.inc();
        self.0.written.inc_by(events as u64);
        self.wake();
    }

    /// Tells the publisher that the outbox has events that nobody has leased.
    pub(super) fn wake(&self) {
        self.0.left.store(true, Ordering::Release);
        self.0.woken.notify_one();
    }

    pub(super) fn owner(&self) -> Uuid {
        self.0.owner
    }

    pub(super) fn open(&self) {
        self.0.open.store(true, Ordering::Release);
    }

    pub(super) fn close(&self) {
        self.0.open.store(false, Ordering::Release);
    }

    /// Whether [`Handover::wake`] was called since the last call of this.
    pub(super) fn take_left(&self) -> bool {
        self.0.left.swap(false, Ordering::AcqRel)
    }

    pub(super) async fn woken(&self) {
        self.0.woken.notified().await;
    }
}

impl Ticket {
    /// The lease to write the events with, if the publisher had room for them.
    pub fn lease(&self) -> Option<Lease> {
        self.reserved.as_ref().map(|_| Lease { owner: self.handover.0.owner, length: LEASE })
    }

    /// Hands over the events that were committed with this ticket's lease, or wakes the publisher
    /// if there was no lease.
    pub fn hand_over<'a>(self, events: impl IntoIterator<Item = &'a NewEvent>) {
        let events = events.into_iter();
        let committed = events.inspect(|event| tracing::debug!(event_id = %event.id, "committed"));
        let events: Vec<_> = committed.map(message::of_new).collect();
        if events.is_empty() {
            return;
        }
        // Each event is a write of its own, although several share a statement.
        self.handover.0.writes.inc_by(events.len() as u64);
        self.handover.0.written.inc_by(events.len() as u64);
        match self.reserved {
            Some((leased_until, _room)) => {
                // If the publisher is gone, the next one finds them in the outbox.
                let _ = self.handover.0.events.send(LeasedBatch { events, leased_until, _room });
            }
            None => self.handover.wake(),
        }
    }
}
