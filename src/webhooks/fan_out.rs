//! Reads the outbox in the order of the change feed, and makes a delivery of each event for each
//! endpoint that is to be told of it.
//!
//! The position and the deliveries are written in one transaction, and there is one row for each
//! event and endpoint: so whoever reads once more makes none twice. The core knows nothing of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::event::snapshot::Cursor;
use crate::feed::{FeedError, Stretch, beginning, now};
use crate::ground::shutdown::Shutdown;
use crate::store::webhooks::fan_out::Place;
use crate::store::webhooks::{self, fan_out};
use crate::store::{Connection, Store, StoreError, transaction};

/// How often to look at the outbox while there is an endpoint.
const EVERY: Duration = Duration::from_millis(200);
/// How often to look whether there is one.
const WITHOUT_ENDPOINTS: Duration = Duration::from_secs(1);
/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How many events are read at once; fewer where their deliveries are more than a statement can
/// insert in time.
const ROWS: usize = 500;
/// How many deliveries to endpoints that are gone are deleted at once.
const DELETED_AT_ONCE: i64 = 5_000;
/// How often those deliveries are looked for that wait for nothing any more, and among how many:
/// the next look goes on from there.
const RELEASE_EVERY: Duration = Duration::from_secs(2);
const LOOKED_AT_ONCE: i64 = 2_000;

/// How often it is noted that there was nothing, in seconds: nothing younger is purged.
const NOTED_EVERY: i64 = 10;

/// Makes deliveries.
pub struct FanOut {
    store: Store,
    /// Told when there are new ones.
    made: Arc<Notify>,
    released: Instant,
    /// How far the look for deliveries that wait for nothing has come.
    place: Option<Place>,
    cleaned: Instant,
    rows: usize,
}

/// What a look has found.
enum Look {
    /// There is no endpoint.
    NoEndpoint,
    /// Another process is reading.
    Elsewhere,
    /// Everything was read.
    End,
    /// There is more.
    More,
}

impl FanOut {
    /// Tells `made` of new deliveries.
    pub fn new(store: Store, made: Arc<Notify>) -> FanOut {
        let now = Instant::now();
        FanOut { store, made, released: now, place: None, cleaned: now, rows: ROWS }
    }

    /// Runs until the process is told to stop.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let pause = match self.look().await {
                Ok(Look::More) => {
                    self.rows = (self.rows * 2).min(ROWS);
                    Duration::ZERO
                }
                Ok(Look::End | Look::Elsewhere) => EVERY,
                Ok(Look::NoEndpoint) => WITHOUT_ENDPOINTS,
                Err(StoreError::TooSlow(_)) if self.rows > 1 => {
                    self.rows = (self.rows / 4).max(1);
                    Duration::ZERO
                }
                Err(error) => {
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::warn!(%error, "can't make webhook deliveries; retrying");
                    }
                    AFTER_FAILURE
                }
            };
            if shutdown.stopped() || !shutdown.sleep(pause).await {
                return;
            }
        }
    }

    async fn look(&mut self) -> Result<Look, StoreError> {
        let mut connection = self.store.connection().await?;
        // While there are more of them, each look deletes some.
        if self.cleaned.elapsed() >= RELEASE_EVERY
            && !webhooks::delete_left(&mut connection, DELETED_AT_ONCE).await?
        {
            self.cleaned = Instant::now();
        }
        if !fan_out::any_enabled(&mut connection).await? {
            return Ok(Look::NoEndpoint);
        }
        let (mut made, rows) = (0, self.rows);
        let found = transaction(&mut connection, async |connection| {
            let Some(progress) = fan_out::take(connection).await? else {
                return Ok(Look::Elsewhere);
            };
            let position = progress.position.and_then(|text| serde_json::from_str(&text).ok());
            let (found, count) = read_on(connection, position, rows).await?;
            made = count;
            Ok(found)
        })
        .await?;
        if made > 0 {
            self.made.notify_one();
        }
        let is_reader = !matches!(found, Look::Elsewhere);
        if is_reader && self.released.elapsed() >= RELEASE_EVERY {
            self.released = Instant::now();
            match fan_out::release(&mut connection, self.place.as_ref(), LOOKED_AT_ONCE).await {
                Ok((released, place)) => {
                    self.place = place;
                    if released > 0 {
                        self.made.notify_one();
                    }
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "can't look which deliveries wait for nothing; retrying");
                }
            }
        }
        Ok(found)
    }
}

/// Makes the deliveries of what follows the position. Returns how many.
async fn read_on(
    connection: &mut Connection,
    position: Option<Cursor>,
    rows: usize,
) -> Result<(Look, usize), StoreError> {
    let cursor = match position {
        Some(cursor) => cursor,
        None => beginning(connection).await?,
    };
    // No user has this number, and payloads are not needed.
    let stretch = match Stretch::read(connection, &cursor, Some(0), rows).await {
        Ok(stretch) => stretch,
        Err(FeedError::Store(error)) => return Err(error),
        Err(FeedError::Gone(why)) => {
            // A restored database, say. What was told already has its row.
            tracing::warn!(why, "the outbox is read for webhooks from its beginning");
            let cursor = beginning(connection).await?;
            fan_out::advance(connection, &text(&cursor)?, None).await?;
            return Ok((Look::More, 0));
        }
    };
    let events: Vec<Uuid> =
        stretch.unseen(&cursor).filter(|change| change.tells).map(|change| change.id).collect();
    let made = if events.is_empty() { 0 } else { fan_out::deliver(connection, &events).await? };
    let after = stretch.end(&cursor);
    let has_more = after.within.is_some() || cursor.within.is_some();
    let age = after.seen.taken_at() - cursor.seen.taken_at();
    if has_more || !events.is_empty() || age >= NOTED_EVERY {
        let seen_at = DateTime::from_timestamp(after.seen.taken_at(), 0);
        fan_out::advance(connection, &text(&after)?, seen_at).await?;
    }
    Ok((if has_more { Look::More } else { Look::End }, made))
}

/// Begins to read with what happens from now on, unless others are told of events already. To be
/// called in the transaction that enables an endpoint, before it does.
///
/// # Errors
/// The database fails; then the transaction has failed too.
pub async fn begin(connection: &mut Connection) -> Result<(), StoreError> {
    fan_out::lock(connection).await?;
    if fan_out::any_enabled(connection).await? {
        return Ok(());
    }
    let cursor = now(connection).await?.cursor();
    let seen_at = DateTime::from_timestamp(cursor.seen.taken_at(), 0);
    fan_out::advance(connection, &text(&cursor)?, seen_at).await
}

fn text(cursor: &Cursor) -> Result<String, StoreError> {
    serde_json::to_string(cursor).map_err(|error| StoreError::Fault(error.to_string()))
}
