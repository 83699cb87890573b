//! New events on the short way to the publisher of their own process.
//!
//! An event is written with a lease for that publisher and given to it after the commit, so it goes to the
//! broker without having been looked for. This is a short cut and nothing more: an event that is not handed
//! over, for whatever reason, is free when its lease ends and is found like any other.

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
use crate::store::delivery::outbox::Lease;

/// How long an event is leased. A publisher that was killed leaves what it has for the rest of it.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How many events may wait to be published on the short way: as many as a broker confirms in a fraction of
/// the lease.
const HELD: usize = 2_048;

/// What those who write events share with the publisher of their process.
#[derive(Clone)]
pub struct Handover(Arc<Shared>);

struct Shared {
    owner: Uuid,
    /// Whether the publisher takes events on the short way: not while it is behind, or the broker away.
    open: AtomicBool,
    room: Arc<Semaphore>,
    events: UnboundedSender<Handed>,
    writes: IntCounter,
    /// Whether something waits in the outbox that nobody has leased.
    left: AtomicBool,
    woken: Notify,
}

/// Events that one write has handed over.
pub(super) struct Handed {
    pub(super) events: Vec<Publishable>,
    /// When another publisher may take them, or a little before.
    pub(super) leased_until: Instant,
    _room: OwnedSemaphorePermit,
}

/// The right to write events that are leased from the start, if the publisher had room; one for each write.
pub struct Ticket {
    handover: Handover,
    held: Option<(Instant, OwnedSemaphorePermit)>,
}

impl Handover {
    /// `writes` counts what is committed.
    pub(super) fn new(writes: IntCounter) -> (Handover, UnboundedReceiver<Handed>) {
        let (events, handed) = unbounded_channel();
        let shared = Shared {
            owner: Uuid::now_v7(),
            open: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(HELD)),
            events,
            writes,
            left: AtomicBool::new(false),
            woken: Notify::new(),
        };
        (Handover(Arc::new(shared)), handed)
    }

    /// For a write of so many events at most. To be taken before its statement.
    pub fn ticket(&self, events: usize) -> Ticket {
        let leased_until = Instant::now() + LEASE;
        let room = u32::try_from(events).ok().filter(|_| self.0.open.load(Ordering::Acquire));
        let room = room.and_then(|n| Arc::clone(&self.0.room).try_acquire_many_owned(n).ok());
        if room.is_none() {
            // Events that are left in the outbox come before those that are handed over later.
            self.close();
        }
        Ticket { handover: self.clone(), held: room.map(|room| (leased_until, room)) }
    }

    /// A write was committed whose events are left in the outbox.
    pub fn written(&self) {
        self.0.writes.inc();
        self.wake();
    }

    /// There is something in the outbox that nobody has leased.
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

    /// Whether [`Handover::wake`] was called since this was asked last.
    pub(super) fn take_left(&self) -> bool {
        self.0.left.swap(false, Ordering::AcqRel)
    }

    pub(super) async fn woken(&self) {
        self.0.woken.notified().await;
    }
}

impl Ticket {
    /// What to write the events with.
    pub fn lease(&self) -> Option<Lease> {
        self.held.as_ref().map(|_| Lease { owner: self.handover.0.owner, length: LEASE })
    }

    /// Hands over what was committed with this ticket's lease, or wakes the publisher where there was none.
    pub fn hand_over<'a>(self, events: impl IntoIterator<Item = &'a NewEvent>) {
        let events = events.into_iter();
        let committed = events.inspect(|event| tracing::debug!(event_id = %event.id, "committed"));
        let events: Vec<_> = committed.map(message::of_new).collect();
        if events.is_empty() {
            return;
        }
        // Each was a write, which waited for its statement with others.
        self.handover.0.writes.inc_by(events.len() as u64);
        match self.held {
            Some((leased_until, _room)) => {
                // A publisher that has gone leaves them to the next.
                let _ = self.handover.0.events.send(Handed { events, leased_until, _room });
            }
            None => self.handover.wake(),
        }
    }
}
