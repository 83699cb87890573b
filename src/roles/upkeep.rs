//! Keeps a database fast while it is written to.

use std::time::Duration;

use chrono::Utc;

use super::parts::RoleContext;
use crate::domain::schedule::Schedule;
use crate::ground::shutdown::Shutdown;
use crate::ground::telemetry::Metrics;
use crate::retention::{Retention, purge};
use crate::store::delivery::{outbox, retention};
use crate::store::{Store, StoreError, task_list};

/// How often the pending entries of the search index are merged. A merge costs once for each word,
/// however many tasks have it. So more frequent merges are more work, and with fewer ones the
/// pending list outgrows PostgreSQL's limit.
const INDEX_EVERY: Duration = Duration::from_millis(500);

/// Keeps the pending list of the search index (GIN) short. Each search reads the whole list. When
/// it has grown to four megabytes, the write that comes next merges all of it, which takes a tenth
/// of a second (<https://www.postgresql.org/docs/current/gin-implementation.html#GIN-FAST-UPDATE>).
/// Nobody waits for the merges here.
pub(super) async fn index_searches(store: Store, metrics: Metrics, shutdown: Shutdown) {
    let mut indexed_at = 0;
    while shutdown.sleep(INDEX_EVERY).await {
        let written = metrics.task_writes.get();
        if written == indexed_at {
            continue;
        }
        let indexed = async { task_list::index_pending(&mut *store.connection().await?).await };
        match indexed.await {
            Ok(()) => indexed_at = written,
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => {
                // Only speed is at stake: the writes merge the list, as in any other application.
                tracing::warn!(%error, "can't flush the search index; PostgreSQL does so with later writes");
                return;
            }
        }
    }
}

/// After how many writes the table of events is vacuumed, and how often that is checked.
const VACUUM_EVERY: u64 = 2_000;
const VACUUM_POLL: Duration = Duration::from_secs(1);

/// Does the work of autovacuum, which the embedded database doesn't have. Without it the publisher
/// scans more and more dead versions of events to find the new ones, and lists are planned for as
/// few tasks as there were at first. The planner's statistics are renewed whenever the tasks may
/// have doubled.
pub(super) async fn vacuum(store: &Store, metrics: &Metrics, shutdown: &Shutdown) {
    let (mut vacuumed_at, mut counted_at) = (0, 0);
    while !shutdown.stopped() {
        shutdown.sleep(VACUUM_POLL).await;
        let written = metrics.task_writes.get();
        if written - vacuumed_at < VACUUM_EVERY {
            continue;
        }
        vacuumed_at = written;
        let twice = written >= 2 * counted_at;
        let vacuumed = async {
            let mut connection = store.connection().await?;
            outbox::vacuum(&mut connection).await?;
            if twice { task_list::analyze(&mut connection).await } else { Ok(()) }
        };
        if let Err(error) = vacuumed.await {
            // Only space and speed are at stake, so the next time will do.
            tracing::warn!(%error, "the tables could not be vacuumed");
        } else if twice {
            counted_at = written;
        }
    }
}

/// The upkeep of a database that one process has to itself, or shares.
pub(super) struct Upkeep<'a> {
    /// When to purge.
    pub(super) schedule: &'a Schedule,
    pub(super) keep: Retention,
    /// Whether nobody else vacuums it.
    pub(super) vacuums: bool,
}

impl Upkeep<'_> {
    /// Runs until told to stop, and at most until the end of the time for draining, since a
    /// statement may be a long one.
    pub(super) async fn run(&self, context: &RoleContext, shutdown: &Shutdown) {
        let RoleContext { store, metrics, .. } = context;
        let vacuuming = async {
            if self.vacuums {
                vacuum(store, metrics, shutdown).await;
            }
        };
        let purging = async {
            let (schedule, keep) = (self.schedule, self.keep);
            purge_by_schedule(schedule, store, keep, metrics, shutdown, self.vacuums).await;
        };
        tokio::select! {
            _ = async { tokio::join!(vacuuming, purging) } => {}
            () = shutdown.deadline() => {}
        }
    }
}

/// Makes the space free that a purge has emptied. Table by table, since one connection may be all
/// there is.
async fn reclaim(store: &Store) -> Result<(), StoreError> {
    for table in retention::VACUUMED {
        retention::vacuum(&mut *store.connection().await?, table).await?;
    }
    Ok(())
}

/// Purges on schedule until told to stop, and reclaims the space where nobody else does.
pub(super) async fn purge_by_schedule(
    schedule: &Schedule,
    store: &Store,
    keep: Retention,
    metrics: &Metrics,
    shutdown: &Shutdown,
    reclaims: bool,
) {
    while let Some(next) = schedule.next_after(Utc::now()) {
        tracing::info!(%schedule, next = %next.to_rfc3339(), "next purge");
        let pause = (next - Utc::now()).to_std().unwrap_or_default();
        if !shutdown.sleep(pause).await {
            return;
        }
        match purge(store, keep, Utc::now(), metrics, shutdown).await {
            Ok(Some(purged)) => tracing::info!(
                processed_messages = purged.processed_messages,
                events = purged.events,
                task_activity = purged.task_activity,
                event_steps = purged.event_steps,
                dead_letters = purged.dead_letters,
                replays = purged.replays,
                audit = purged.audit,
                activity_minutes = purged.activity_minutes,
                idempotency_keys = purged.idempotency_keys,
                tokens = purged.tokens,
                "purged"
            ),
            Ok(None) => tracing::info!("another process is purging"),
            Err(error) => {
                tracing::error!(%error, "the purge failed; the next one deletes the rest")
            }
        }
        if reclaims && let Err(error) = reclaim(store).await {
            tracing::warn!(%error, "the space of what was purged can't be reclaimed; the next time will do");
        }
    }
    tracing::warn!(%schedule, "this schedule never comes due again");
}
