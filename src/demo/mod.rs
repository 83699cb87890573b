//! What `taskd up --demo` adds: people who change tasks, faults on purpose, and the figures that
//! show that nothing was lost and nothing done twice.
//!
//! The faults are decorators of the seams: a broker that can be held ([`Demo::broker`]), and for
//! each worker a broker and a mailer of its own ([`DemoWorker`]). They replace parts of a process
//! when it is put together, so the parts know nothing of them, and without `--demo` there are none.
//! The people are clients of the API like any other.

mod broker;
mod faults;
mod ledger;
mod mail;
mod messages;
mod orders;
mod people;
mod promises;
mod proof;
mod story;
mod trickle;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, watch};

pub use faults::MailFault;
pub use messages::DemoError;
pub use orders::DemoOrder;
pub use promises::{STAKES, Stake};
pub use proof::DemoView;

use crate::authenticity::Authenticity;
use crate::broker::Broker;
use crate::ground::shutdown::Shutdown;
use crate::mail::Mailer;
use crate::retention::Retention;
use crate::store::Store;
use crate::store::operation::demo;
use broker::BreakableBroker;
use faults::{Faults, Workers};
use ledger::Ledger;
use mail::BreakableMailer;
use messages::Messages;

/// How long a demo keeps things: it may run for days, and is meant for a small disk. Far longer
/// than a message is under way, even if somebody leaves a fault overnight.
pub const KEPT: Retention = Retention {
    processed: DAY,
    events: DAY,
    activity: DAY,
    attempts: DAY,
    letters: DAY,
    audit: DAY,
    history: DAY,
};
const DAY: Duration = Duration::from_secs(24 * 3600);
/// When a demo purges, in UTC: every hour.
pub const PURGES: &str = "17 * * * *";
/// How often the files of old mails are deleted.
const SWEEP: Duration = Duration::from_secs(300);

/// The effect whose mails are counted.
const EMAIL: &str = "email";

/// The controls of a demo. Clones share them.
#[derive(Clone)]
pub struct Demo(Arc<Inner>);

struct Inner {
    store: Store,
    /// As all but the workers see it.
    broker: Arc<dyn Broker>,
    messages: Messages,
    faults: Faults,
    ledger: Ledger,
    mail_dir: PathBuf,
    /// Whether the people change tasks.
    trickles: watch::Sender<bool>,
    /// Held while one of them changes a task.
    turn: Mutex<()>,
    /// Whether they wait until less is waiting.
    resting: AtomicBool,
    duplicates: AtomicU64,
    garbage: AtomicU64,
}

impl Demo {
    /// Puts a demo around this broker. Mails are files in `mail_dir`, where those of a process
    /// before are found.
    ///
    /// # Errors
    /// The directory can't be read, or the database fails.
    pub async fn new(
        store: Store,
        broker: Arc<dyn Broker>,
        mail_dir: PathBuf,
    ) -> anyhow::Result<Demo> {
        let (faults, ledger) = (Faults::default(), Ledger::read(&mail_dir)?);
        // A process before was killed between sending these and recording it.
        for event_id in demo::open_effects(&mut *store.connection().await?, EMAIL).await? {
            ledger.explain(&format!("{event_id}.{EMAIL}@taskd"));
        }
        let broker: Arc<dyn Broker> = Arc::new(BreakableBroker::new(broker, faults.clone(), None));
        let messages = Messages {
            store: store.clone(),
            broker: Arc::clone(&broker),
            authenticity: Authenticity::new(store.clone()),
        };
        Ok(Demo(Arc::new(Inner {
            store,
            broker,
            messages,
            faults,
            ledger,
            mail_dir,
            trickles: watch::Sender::new(true),
            turn: Mutex::new(()),
            resting: AtomicBool::new(false),
            duplicates: AtomicU64::new(0),
            garbage: AtomicU64::new(0),
        })))
    }

    /// The broker as everything but the workers sees it.
    pub fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.0.broker)
    }

    /// The worker with this number.
    pub fn worker(&self, number: usize) -> DemoWorker {
        DemoWorker { demo: self.clone(), number }
    }

    /// Deletes the files of old mails until told to stop.
    pub async fn sweep(self, shutdown: Shutdown) {
        while shutdown.sleep(SWEEP).await {
            let (ledger, directory) = (self.0.ledger.clone(), self.0.mail_dir.clone());
            let sweeping = move || ledger.sweep(&directory, SystemTime::now());
            if let Ok(Err(error)) = tokio::task::spawn_blocking(sweeping).await {
                tracing::warn!(%error, "old mails of the demo can't be deleted; the next time will do");
            }
        }
    }
}

/// A worker of a demo, which can be stopped and frozen.
#[derive(Clone)]
pub struct DemoWorker {
    demo: Demo,
    number: usize,
}

impl DemoWorker {
    /// What it is called.
    pub fn name(&self) -> String {
        format!("worker-{}", self.number)
    }

    /// Its connection to the broker.
    pub fn broker(&self) -> Arc<dyn Broker> {
        let (broker, faults) = (self.demo.broker(), self.demo.0.faults.clone());
        Arc::new(BreakableBroker::new(broker, faults, Some(self.number)))
    }

    /// Its mailer around this one. `shutdown` is the end of the process.
    pub fn mailer(&self, mailer: Arc<dyn Mailer>, shutdown: &Shutdown) -> Arc<dyn Mailer> {
        Arc::new(BreakableMailer {
            mailer,
            faults: self.demo.0.faults.clone(),
            ledger: self.demo.0.ledger.clone(),
            worker: self.number,
            shutdown: shutdown.clone(),
        })
    }

    /// Waits until it is to work.
    pub async fn wanted(&self) {
        self.demo.0.faults.workers_are(|state| state != Workers::Stopped).await;
    }

    /// Waits until it is to stop.
    pub async fn unwanted(&self) {
        self.demo.0.faults.workers_are(|state| state == Workers::Stopped).await;
    }
}
