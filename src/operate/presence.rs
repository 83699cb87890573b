//! Notes that a process is there, for `taskd ps`. Nothing correct depends on it: while the database
//! is away it waits, and neither the start nor the end of a process waits for it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::presence::{Finding, Process, Role, Seen, findings};
use crate::ground::telemetry::{Load, Metrics};
use crate::store::operation::processes::{self, Doing};
use crate::store::{Connection, Store, StoreError};

/// How often a process notes its presence.
const EVERY: Duration = Duration::from_secs(3);
/// How long taking leave may take.
const LEAVE: Duration = Duration::from_millis(500);

/// A process whose presence is noted until it leaves.
pub struct Presence {
    ending: CancellationToken,
    noting: JoinHandle<()>,
}

impl Presence {
    /// Starts to note the presence of this process: in this role, under this name, with what it has
    /// in hand by these metrics.
    pub fn start(store: Store, role: Role, name: &str, metrics: &Metrics) -> Presence {
        let process = Process {
            id: Uuid::now_v7(),
            role,
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid: std::process::id().into(),
        };
        let load = if role.works() { &metrics.in_hand } else { &metrics.requests }.clone();
        let ending = CancellationToken::new();
        let noting = tokio::spawn(keep(store, process, load, ending.clone()));
        Presence { ending, noting }
    }

    /// Takes the row away. A process that has just lost the database leaves it there.
    pub async fn leave(self) {
        self.ending.cancel();
        let _ = tokio::time::timeout(LEAVE, self.noting).await;
    }
}

async fn keep(store: Store, process: Process, load: Load, ending: CancellationToken) {
    let started = Instant::now();
    let mut busy_since: Option<Instant> = None;
    loop {
        let in_hand = load.in_hand();
        busy_since = if in_hand > 0 { busy_since.or_else(|| Some(Instant::now())) } else { None };
        let doing = Doing {
            started_ago: started.elapsed(),
            in_hand,
            busy_for: busy_since.map(|since| since.elapsed()),
            progress_ago: load.finished_ago(),
        };
        let noted =
            async { processes::note(&mut *store.connection().await?, &process, doing).await };
        let there = match noted.await {
            Ok(()) => true,
            Err(StoreError::Unavailable(_)) => false,
            Err(error) => {
                tracing::debug!(%error, "the presence of this process can't be noted");
                false
            }
        };
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = ending.cancelled() => {
                if there {
                    let left = async {
                        processes::leave(&mut *store.connection().await?, process.id).await
                    };
                    // Whoever is not seen any more is shown as silent, and forgotten in a day.
                    let _: Result<(), StoreError> = left.await;
                }
                return;
            }
        }
    }
}

/// The processes and what is to be said of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessList {
    /// Every process that was seen within a day.
    pub processes: Vec<ProcessEntry>,
    /// What needs somebody.
    pub findings: Vec<FindingEntry>,
}

/// A process, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessEntry {
    /// Tells it from every other.
    pub id: Uuid,
    /// `serve`, `work` or `up`.
    pub role: String,
    /// The worker's name, or the host's name and the process id.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// Its machine.
    pub host: String,
    /// Its id there.
    pub pid: i64,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was last seen.
    pub seen_at: DateTime<Utc>,
    /// How many deliveries it has in hand; of `serve`, requests.
    pub in_hand: i64,
    /// When it last settled a delivery; of `serve`, answered a request.
    pub last_progress_at: Option<DateTime<Utc>>,
    /// `alive` or `silent`.
    pub state: String,
}

/// Something that needs somebody, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindingEntry {
    /// `no_worker`, `worker_without_progress` or `two_versions`.
    pub code: String,
    /// The same in words.
    pub message: String,
}

/// Reads who is there.
///
/// # Errors
/// The database fails.
pub async fn list(connection: &mut Connection) -> Result<ProcessList, StoreError> {
    let (processes, findings) = look(connection).await?;
    let finding =
        |found: Finding| FindingEntry { code: found.code.to_owned(), message: found.message };
    Ok(ProcessList {
        processes: processes.into_iter().map(ProcessEntry::from).collect(),
        findings: findings.into_iter().map(finding).collect(),
    })
}

/// The processes, and what is to be said of them.
///
/// # Errors
/// The database fails.
pub async fn look(connection: &mut Connection) -> Result<(Vec<Seen>, Vec<Finding>), StoreError> {
    let processes = processes::list(connection).await?;
    let queued_since = processes::queued_since(connection).await?;
    let findings = findings(&processes, queued_since, Utc::now());
    Ok((processes, findings))
}

impl From<Seen> for ProcessEntry {
    fn from(seen: Seen) -> ProcessEntry {
        let state = seen.state().to_owned();
        let Seen { process, started_at, seen_at, in_hand, last_progress_at, .. } = seen;
        let Process { id, role, name, version, host, pid } = process;
        let role = role.as_str().to_owned();
        ProcessEntry {
            id,
            role,
            name,
            version,
            host,
            pid,
            started_at,
            seen_at,
            in_hand,
            last_progress_at,
            state,
        }
    }
}
