//! What keeps a database quick while it is written to.

use std::time::Duration;

use crate::ground::shutdown::Shutdown;
use crate::ground::telemetry::Metrics;
use crate::store::delivery::outbox;
use crate::store::{Store, StoreError, task_list};

/// How often new entries of the search index are put where they belong. Each of its words costs once for all tasks that
/// came since, so more often is more work; less often, and there are more than PostgreSQL lets wait.
const INDEX_EVERY: Duration = Duration::from_millis(500);

/// Keeps the list short in which PostgreSQL lets new entries of the search index wait: each search reads all of it, and
/// when it has grown to four megabytes, the write that happens to come next puts all of it in its place, which takes a
/// tenth of a second (<https://www.postgresql.org/docs/current/gin-implementation.html#GIN-FAST-UPDATE>). Here nobody
/// waits for it.
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
                // Only time is at stake: the writes do it, as they would anywhere else.
                tracing::warn!(%error, "new tasks are left to PostgreSQL to index for searches");
                return;
            }
        }
    }
}

/// After how many writes the table of events is vacuumed, and how often that is looked at.
const VACUUM_EVERY: u64 = 2_000;
const VACUUM_POLL: Duration = Duration::from_secs(1);

/// What an autovacuum would do, which the embedded database doesn't have: without it the publisher walks past
/// more and more old versions of events to find what is new, and lists are planned for as few tasks as there were
/// at first. Those are counted again whenever there may be twice as many.
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
            // Only room and time are at stake: the next time will do as well.
            tracing::warn!(%error, "the tables could not be vacuumed");
        } else if twice {
            counted_at = written;
        }
    }
}
