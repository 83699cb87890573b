//! What is broken on purpose at the moment. Whoever gives an order sets it here; the decorators of
//! the seams and the loops of the workers look here.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// How mail fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MailFault {
    /// Of a hundred mails, how many fail.
    pub failing: u8,
    /// Whether those are refused for good, instead of put off.
    pub for_good: bool,
}

/// What the workers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workers {
    /// They work.
    Running,
    /// They have drained and take nothing.
    Stopped,
    /// The one that sends the next mail freezes before it has written so down.
    FreezeNext,
    /// The worker with this number is frozen.
    Frozen(usize),
}

/// The faults of a demo. Clones share them.
#[derive(Clone)]
pub(super) struct Faults(Arc<Inner>);

struct Inner {
    workers: watch::Sender<Workers>,
    held: watch::Sender<bool>,
    mail: Mutex<MailFault>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults(Arc::new(Inner {
            workers: watch::Sender::new(Workers::Running),
            held: watch::Sender::new(false),
            mail: Mutex::default(),
        }))
    }
}

impl Faults {
    /// Ends all of them.
    pub(super) fn mend(&self) {
        self.set_mail(MailFault::default());
        self.hold_broker(false);
        self.set_workers(Workers::Running);
    }

    pub(super) fn mail(&self) -> MailFault {
        *self.0.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_mail(&self, fault: MailFault) {
        *self.0.mail.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(super) fn hold_broker(&self, held: bool) {
        self.0.held.send_replace(held);
    }

    /// Whether the broker is held.
    pub(super) fn is_held(&self) -> bool {
        *self.0.held.borrow()
    }

    /// Waits until the broker is held.
    pub(super) async fn held(&self) {
        // It fails only if the sender is gone, which this has.
        let _ = self.0.held.subscribe().wait_for(|held| *held).await;
    }

    pub(super) fn workers(&self) -> Workers {
        *self.0.workers.borrow()
    }

    pub(super) fn set_workers(&self, state: Workers) {
        self.0.workers.send_replace(state);
    }

    /// Waits until the workers are in such a state.
    pub(super) async fn workers_are(&self, such: impl Fn(Workers) -> bool + Send) {
        let _ = self.0.workers.subscribe().wait_for(|state| such(*state)).await;
    }

    /// Freezes this worker if one is to be frozen. Returns whether it did.
    pub(super) fn freeze(&self, worker: usize) -> bool {
        self.replace(Workers::FreezeNext, Workers::Frozen(worker))
    }

    /// Lets this worker go on if it is still frozen.
    pub(super) fn thaw(&self, worker: usize) {
        self.replace(Workers::Frozen(worker), Workers::Running);
    }

    fn replace(&self, before: Workers, after: Workers) -> bool {
        self.0.workers.send_if_modified(|state| {
            let is_such = *state == before;
            if is_such {
                *state = after;
            }
            is_such
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_is_frozen_and_an_order_that_came_meanwhile_counts() {
        let faults = Faults::default();
        assert!(!faults.freeze(1), "nobody has ordered it");
        faults.set_workers(Workers::FreezeNext);
        assert!(faults.freeze(1) && !faults.freeze(2));
        assert_eq!(faults.workers(), Workers::Frozen(1));
        faults.set_workers(Workers::Stopped);
        faults.thaw(1);
        assert_eq!(faults.workers(), Workers::Stopped);
        faults.mend();
        assert_eq!((faults.workers(), faults.is_held()), (Workers::Running, false));
    }
}
