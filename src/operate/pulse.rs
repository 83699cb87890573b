//! Tells live pages that something has changed. However many are open, a process asks the database
//! one statement a second, and none while nobody watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ground::shutdown::Shutdown;
use crate::store::operation::pulse::{self, Fingerprint};
use crate::store::{Store, StoreError};

/// How long there is between two questions at least: so late can a page notice a change.
const EVERY: Duration = Duration::from_secs(1);

/// What has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Topics {
    /// An event was written, which each change of a task is.
    pub events: bool,
    /// Something was published, recorded, failed or finished.
    pub work: bool,
    /// A dead letter came or went, or a replay has got on.
    pub letters: bool,
    /// An effect was paused or resumed, a breaker opened or closed, or something waits for one.
    pub gates: bool,
    /// A process came, went or fell silent, or has another number in hand.
    pub processes: bool,
    /// A webhook or a delivery was made, changed or deleted, which each try does.
    pub webhooks: bool,
}

impl Topics {
    /// Every topic.
    pub const ALL: Topics = Topics {
        events: true,
        work: true,
        letters: true,
        gates: true,
        processes: true,
        webhooks: true,
    };

    /// Whether anything has changed.
    pub fn any(self) -> bool {
        self != Topics::default()
    }

    /// Whether both have one of them.
    pub fn share(self, others: Topics) -> bool {
        (self.events && others.events)
            || (self.work && others.work)
            || (self.letters && others.letters)
            || (self.gates && others.gates)
            || (self.processes && others.processes)
            || (self.webhooks && others.webhooks)
    }

    /// What differs between two fingerprints.
    fn between(before: Fingerprint, now: Fingerprint) -> Topics {
        Topics {
            events: before.events != now.events,
            work: before.work != now.work,
            letters: before.letters != now.letters,
            gates: before.gates != now.gates,
            processes: before.processes != now.processes,
            webhooks: before.webhooks != now.webhooks,
        }
    }
}

/// How often each topic has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Beats(Fingerprint);

impl Beats {
    fn count(&mut self, topics: Topics) {
        let Fingerprint { events, work, letters, gates, processes, webhooks } = &mut self.0;
        for (count, changed) in [
            (events, topics.events),
            (work, topics.work),
            (letters, topics.letters),
            (gates, topics.gates),
            (processes, topics.processes),
            (webhooks, topics.webhooks),
        ] {
            *count = count.wrapping_add(changed.into());
        }
    }
}

type Ask = dyn Fn() -> BoxFuture<'static, Result<Fingerprint, StoreError>> + Send + Sync;

/// Watches the database while somebody wants to know. Clones watch together.
#[derive(Clone)]
pub struct Pulse(Arc<Inner>);

struct Inner {
    ask: Box<Ask>,
    every: Duration,
    shutdown: Shutdown,
    beats: watch::Sender<Beats>,
    state: Mutex<State>,
    /// Where the task runs: subscribers come and go on threads that end before others.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    /// Whether a task is watching.
    watching: bool,
    /// When the database was last asked, and what it said when it last answered.
    asked: Option<Instant>,
    answer: Option<Fingerprint>,
}

/// Somebody who wants to know. Dropping it ends that.
pub struct Subscription {
    beats: watch::Receiver<Beats>,
    seen: Beats,
    shutdown: Shutdown,
}

impl Pulse {
    /// Watches this database, by a task on this runtime, until the process is told to stop.
    pub fn new(store: Store, shutdown: Shutdown) -> Pulse {
        let ask = move || -> BoxFuture<'static, Result<Fingerprint, StoreError>> {
            let store = store.clone();
            Box::pin(async move { pulse::fingerprint(&mut *store.connection().await?).await })
        };
        Pulse::asking(Box::new(ask), EVERY, shutdown)
    }

    fn asking(ask: Box<Ask>, every: Duration, shutdown: Shutdown) -> Pulse {
        let beats = watch::Sender::new(Beats::default());
        let (state, runtime) = (Mutex::default(), Handle::current());
        Pulse(Arc::new(Inner { ask, every, shutdown, beats, state, runtime }))
    }

    /// Wants to know of every change from now on: subscribe first, then read what is to be shown.
    pub fn subscribe(&self) -> Subscription {
        let mut state = self.0.state();
        let beats = self.0.beats.subscribe();
        if !state.watching && !self.0.shutdown.stopped() {
            state.watching = true;
            self.0.runtime.spawn(Arc::clone(&self.0).watch());
        }
        let seen = *beats.borrow();
        Subscription { beats, seen, shutdown: self.0.shutdown.clone() }
    }
}

impl Subscription {
    /// Waits until something has changed since the last answer, or since the subscription; `None`
    /// when the process is told to stop. What changes between two calls is in the next answer,
    /// once. May be dropped at any time without losing a change.
    pub async fn changed(&mut self) -> Option<Topics> {
        loop {
            let now = *self.beats.borrow_and_update();
            let topics = Topics::between(self.seen.0, now.0);
            if topics.any() {
                self.seen = now;
                return Some(topics);
            }
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return None,
                // Without a sender the pulse is gone, which a process does at its end.
                changed = self.beats.changed() => changed.ok()?,
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks again and again, until nobody wants to know or the process is told to stop.
    async fn watch(self: Arc<Inner>) {
        loop {
            let pause = self.state().asked.map(|asked| asked + self.every);
            let rested = async {
                if let Some(until) = pause {
                    tokio::time::sleep_until(until).await;
                }
            };
            tokio::select! {
                biased;
                () = self.shutdown.requested() => break,
                () = rested => {}
            }
            if self.is_over() {
                return;
            }
            self.look().await;
        }
        self.state().watching = false;
    }

    /// Whether nobody is left who wants to know. Whoever subscribes after that starts a new task.
    fn is_over(&self) -> bool {
        let mut state = self.state();
        state.watching = self.beats.receiver_count() > 0;
        !state.watching
    }

    async fn look(&self) {
        let answer = (self.ask)().await;
        let mut state = self.state();
        state.asked = Some(Instant::now());
        let now = match answer {
            Ok(now) => now,
            Err(error) => {
                if !matches!(error, StoreError::Unavailable(_)) {
                    tracing::warn!(%error, "can't look for changes, for which live pages wait; retrying");
                }
                // That nobody can look is news itself, and so is the first look after that.
                if state.answer.take().is_some() {
                    self.beats.send_modify(|beats| beats.count(Topics::ALL));
                }
                return;
            }
        };
        // What it was before the first look, nobody knows.
        let topics =
            state.answer.replace(now).map_or(Topics::ALL, |before| Topics::between(before, now));
        if topics.any() {
            self.beats.send_modify(|beats| beats.count(topics));
        }
    }
}

#[cfg(test)]
mod tests;
