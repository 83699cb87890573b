//! The one reader of the outbox in a process, for all who listen: it looks ten times a second while
//! there are listeners, and not at all while there are none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use super::{FeedError, Stretch, entry, now, write};
use crate::domain::event::snapshot::{Cursor, Snapshot};
use crate::ground::shutdown::Shutdown;
use crate::store::events::changes::Change;
use crate::store::{Store, StoreError};

/// How long there is between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// How long there is after one that has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long there is where the last look has found as much as it may: so long have listeners to
/// take it.
const WITH_MORE: Duration = Duration::from_millis(10);
/// How many events a look takes at most.
const ROWS: usize = 200;
/// How many bytes a batch says, unless its first event alone says more.
const BATCH_BYTES: usize = 256 * 1024;
/// How many batches a listener may be behind; then it is cut off, with its cursor. All listeners
/// share them: 64 MB, counting each event twice, if all are as long as they may be.
const BATCHES: usize = 128;

/// The feed of a process. Clones share its reader.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    store: Store,
    shutdown: Shutdown,
    batches: broadcast::Sender<Arc<Batch>>,
    every: Duration,
    /// Whether the reader is at work.
    reading: Mutex<bool>,
    /// Where it works: listeners come and go on threads that end before others.
    runtime: Handle,
}

/// Events that were read together.
pub(super) struct Batch {
    /// One more than that of the batch before, unless some were left out.
    pub(super) number: u64,
    /// What was seen before the stretch that it belongs to.
    pub(super) base: Snapshot,
    /// Whether that stretch begins with it.
    pub(super) begins: bool,
    /// The snapshot at the end of that stretch.
    pub(super) to: Snapshot,
    /// Where to go on after it.
    pub(super) cursor: Cursor,
    /// The events.
    pub(super) lines: Vec<Line>,
    /// All that is said of them to who may see everything.
    pub(super) text: Bytes,
}

/// One event of a batch.
pub(super) struct Line {
    pub(super) change: Change,
    /// Where to go on after it, for who has seen all before.
    pub(super) cursor: String,
}

impl Feed {
    /// The feed of this database, read by a task on this runtime until the process is told to stop.
    pub fn new(store: Store, shutdown: Shutdown) -> Feed {
        Feed::bounded(store, shutdown, EVERY, BATCHES)
    }

    /// The same with another pause between two looks, and another number of batches that a listener
    /// may be behind: a power of two.
    pub fn bounded(store: Store, shutdown: Shutdown, every: Duration, batches: usize) -> Feed {
        let (batches, _) = broadcast::channel(batches);
        let (reading, runtime) = (Mutex::default(), Handle::current());
        Feed(Arc::new(Inner { store, shutdown, batches, every, reading, runtime }))
    }

    /// Listens to every batch from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Batch>> {
        let mut reading = self.0.reading();
        let batches = self.0.batches.subscribe();
        if !*reading && !self.0.shutdown.stopped() {
            *reading = true;
            self.0.runtime.spawn(Arc::clone(&self.0).read());
        }
        batches
    }
}

impl Inner {
    fn reading(&self) -> MutexGuard<'_, bool> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads again and again, until nobody listens or the process is told to stop.
    async fn read(self: Arc<Inner>) {
        let (mut cursor, mut number) = (None, 0_u64);
        loop {
            if self.is_over() {
                return;
            }
            let pause = match self.look(&mut cursor, &mut number).await {
                Ok(true) => WITH_MORE,
                Ok(false) => self.every,
                Err(FeedError::Gone(why)) => {
                    // Another database has come to stand here. Each listener finds out for itself.
                    tracing::warn!(why, "the change feed begins anew");
                    cursor = None;
                    AFTER_FAILURE
                }
                Err(FeedError::Store(error)) => {
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::warn!(%error, "can't read the change feed; retrying");
                    }
                    AFTER_FAILURE
                }
            };
            if !self.shutdown.sleep(pause).await {
                break;
            }
        }
        *self.reading() = false;
    }

    /// Whether nobody is left who listens. Whoever begins after that starts a new reader.
    fn is_over(&self) -> bool {
        let mut reading = self.reading();
        *reading = self.batches.receiver_count() > 0;
        !*reading
    }

    /// Reads what has come since, and says it. Returns whether there is more.
    async fn look(&self, here: &mut Option<Cursor>, number: &mut u64) -> Result<bool, FeedError> {
        let mut connection = self.store.connection().await?;
        let Some(cursor) = here.as_mut() else {
            // Whoever has read up to a moment before this one must read once more.
            let cursor = now(&mut connection).await?.cursor();
            *number += 2;
            let _ = self.batches.send(Arc::new(beginning(*number, &cursor)));
            *here = Some(cursor);
            return Ok(false);
        };
        let stretch = Stretch::read(&mut connection, cursor, None, ROWS).await?;
        drop(connection);
        let after = stretch.end(cursor);
        if !stretch.changes.is_empty() {
            for batch in batches(number, cursor, &stretch, &after) {
                // Whether somebody still listens is looked at before the next look.
                let _ = self.batches.send(Arc::new(batch));
            }
        }
        let has_more = stretch.is_full || cursor.within.is_some();
        *cursor = after;
        Ok(has_more)
    }
}

/// Where the reader begins, without an event.
fn beginning(number: u64, cursor: &Cursor) -> Batch {
    Batch {
        number,
        base: cursor.seen.clone(),
        begins: true,
        to: cursor.seen.clone(),
        cursor: cursor.clone(),
        lines: Vec::new(),
        text: Bytes::new(),
    }
}

/// A stretch in batches of bounded length.
fn batches(number: &mut u64, before: &Cursor, stretch: &Stretch, after: &Cursor) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut rest = stretch.unseen(before).filter(|change| change.tells).peekable();
    loop {
        let (mut text, mut lines) = (String::new(), Vec::<Line>::new());
        while let Some(change) = rest.next_if(|_| text.len() < BATCH_BYTES) {
            let Some(json) = entry::whole(change) else { continue };
            let cursor = write(&before.amid(stretch.at(change.seq)));
            say(&mut text, &cursor, &json);
            lines.push(Line { change: change.clone(), cursor });
        }
        let cursor = match (rest.peek(), lines.last()) {
            (Some(_), Some(last)) => before.amid(stretch.at(last.change.seq)),
            _ => after.clone(),
        };
        *number += 1;
        batches.push(Batch {
            number: *number,
            base: before.seen.clone(),
            begins: batches.is_empty() && before.within.is_none(),
            to: stretch.to.clone(),
            cursor,
            lines,
            text: text.into(),
        });
        if rest.peek().is_none() {
            return batches;
        }
    }
}

/// Adds an event to what is sent
/// (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). Neither part has a line
/// break.
pub(super) fn say(text: &mut String, cursor: &str, json: &str) {
    for part in ["id: ", cursor, "\ndata: ", json, "\n\n"] {
        text.push_str(part);
    }
}
