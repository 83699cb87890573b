//! Keeps a history of what was done in each minute, which survives restarts. Nothing correct
//! depends on it: while the database is away it waits, and what was done meanwhile counts when it
//! is back.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ground::telemetry::{Activity, Metrics};
use crate::store::operation::minutes;
use crate::store::{Store, StoreError};

/// How often a process adds what it has done: so late is the history at most.
const EVERY: Duration = Duration::from_secs(10);
/// How long the last addition may take.
const LAST: Duration = Duration::from_millis(500);

/// The history that this process adds to, until it ends.
pub struct History {
    ending: CancellationToken,
    keeping: JoinHandle<()>,
}

impl History {
    /// Starts to add what this process counts.
    pub fn start(store: Store, metrics: &Metrics) -> History {
        let ending = CancellationToken::new();
        let keeping = tokio::spawn(keep(store, metrics.clone(), ending.clone()));
        History { ending, keeping }
    }

    /// Adds what is left, once the process has done all it does.
    pub async fn end(self) {
        self.ending.cancel();
        let _ = tokio::time::timeout(LAST, self.keeping).await;
    }
}

async fn keep(store: Store, metrics: Metrics, ending: CancellationToken) {
    let mut added = Activity::default();
    loop {
        let last = tokio::select! {
            () = ending.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let now = metrics.activity();
        let done = now.since(&added);
        if !done.is_none() {
            let adding = async { minutes::add(&mut *store.connection().await?, &done).await };
            match adding.await {
                Ok(()) => added = now,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => tracing::warn!(%error, "the history can't be written; retrying"),
            }
        }
        if last {
            return;
        }
    }
}
