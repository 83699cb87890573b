//! The figures that show whether a demo keeps the promises, and all else there is to say of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Demo;
use super::faults::{MailFault, Workers};
use super::promises::{STAKES, Stake};
use crate::store::StoreError;
use crate::store::operation::demo;

/// Of which time changes are counted. Shorter than anything is kept, so nothing of it is purged.
const COUNTED: Duration = Duration::from_secs(3600);

/// All there is to say of a demo.
#[derive(Debug, Serialize)]
pub struct DemoView {
    faults: FaultsView,
    trickle: TrickleView,
    proof: Proof,
    promises: [Stake; 7],
}

#[derive(Debug, Serialize)]
struct FaultsView {
    /// `running`, `stopped` or `frozen`, also while one is about to freeze.
    worker: &'static str,
    /// `up` or `held`.
    broker: &'static str,
    mail: MailFault,
}

#[derive(Debug, Serialize)]
struct TrickleView {
    /// Whether the people may change tasks.
    running: bool,
    /// Whether they wait until less is waiting.
    resting: bool,
}

/// The figures, of the last hour where nothing else is said.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proof {
    since: DateTime<Utc>,
    /// Versions of tasks, counted by the tasks.
    written: i64,
    /// Their events.
    events: i64,
    effects_due: i64,
    effects_done: i64,
    /// Effects that a dead letter waits with, or that were discarded with one.
    effects_dead: i64,
    /// Effects that are still to come, and events from before that are not done.
    waiting: i64,
    /// Whether nothing is waiting.
    settled: bool,
    /// How often something was done that had been done before.
    repeated: i64,
    /// How many of these are within the window that the promise leaves open.
    repeated_in_window: i64,
    mails_sent: i64,
    mails_distinct: i64,
    /// Open dead letters, however old.
    dead_letters: i64,
    /// Since the process started.
    duplicates_published: u64,
    garbage_published: u64,
}

impl Proof {
    /// How much is still to come.
    pub(super) fn waiting(&self) -> i64 {
        self.waiting
    }
}

impl Demo {
    /// What is broken, what is at stake, and what shows that nothing was lost.
    ///
    /// # Errors
    /// The database fails.
    pub async fn view(&self) -> Result<DemoView, StoreError> {
        let proof = self.proof().await?;
        let faults = &self.0.faults;
        let worker = match faults.workers() {
            Workers::Running => "running",
            Workers::Stopped => "stopped",
            Workers::FreezeNext | Workers::Frozen(_) => "frozen",
        };
        let broker = if faults.is_held() { "held" } else { "up" };
        let running = *self.0.trickles.borrow();
        let resting = running && self.0.resting.load(Ordering::Relaxed);
        Ok(DemoView {
            faults: FaultsView { worker, broker, mail: faults.mail() },
            trickle: TrickleView { running, resting },
            proof,
            promises: STAKES,
        })
    }

    /// The figures at this moment.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn proof(&self) -> Result<Proof, StoreError> {
        let since = Utc::now() - COUNTED;
        let found = demo::counts(&mut *self.0.store.connection().await?, since).await?;
        // Asked afterwards: whatever is recorded has been sent.
        let mails = self.0.ledger.since(since.into());
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let open = found.effects_due - found.effects_done - found.effects_dead;
        let waiting = open + found.older_waiting;
        Ok(Proof {
            since,
            written: found.written,
            events: found.events,
            effects_due: found.effects_due,
            effects_done: found.effects_done,
            effects_dead: found.effects_dead,
            waiting,
            settled: waiting == 0,
            repeated: found.repeated + number(mails.repeated),
            repeated_in_window: number(mails.in_window),
            mails_sent: number(mails.sent),
            mails_distinct: number(mails.distinct),
            dead_letters: found.dead_letters,
            duplicates_published: self.0.duplicates.load(Ordering::Relaxed),
            garbage_published: self.0.garbage.load(Ordering::Relaxed),
        })
    }
}
