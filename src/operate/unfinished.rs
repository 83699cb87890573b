//! Keeps the list of events that are not done, by which operators find them.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::ground::shutdown::Shutdown;
use crate::store::events::unfinished::{self, Progress};
use crate::store::{Store, StoreError};

/// How often the list is brought up to date: so long can an event be done and still be listed.
const EVERY: Duration = Duration::from_secs(2);
/// How long one turn may take, so that a backlog leaves time for others.
const TURN: Duration = Duration::from_millis(500);
/// How many events a statement looks at.
const BATCH: i64 = 5_000;

/// Brings the list up to date until told to stop. Each process may do this: they take turns.
pub async fn keep(store: Store, shutdown: Shutdown) {
    let mut place = Uuid::nil();
    while shutdown.sleep(EVERY).await {
        match turn(&store, &mut place).await {
            Ok(()) | Err(StoreError::Unavailable(_)) => {}
            Err(error) => {
                tracing::warn!(%error, "the list of unfinished events can't be brought up to date; retrying");
            }
        }
    }
}

/// Adds what has come, and removes what is done, going on from `place`.
async fn turn(store: &Store, place: &mut Uuid) -> Result<(), StoreError> {
    let began = Instant::now();
    while unfinished::advance(&mut *store.connection().await?, BATCH).await? == Progress::Behind
        && began.elapsed() < TURN
    {}
    loop {
        let cleared = unfinished::clear(&mut *store.connection().await?, *place, BATCH).await?;
        *place = cleared.last.unwrap_or(Uuid::nil());
        // What is done first is usually what came first: as long as it is worth it, go on.
        if cleared.last.is_none() || cleared.removed == 0 || began.elapsed() > TURN {
            return Ok(());
        }
    }
}
