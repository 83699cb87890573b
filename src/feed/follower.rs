//! One who listens to the feed: reads by itself up to now, then takes what the process's reader
//! says to all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::hub::{Batch, Feed, say};
use super::{FeedError, Page, Since, View, page, write};
use crate::domain::event::snapshot::{Cursor, Within};
use crate::store::{Store, StoreError};

/// How many events are read at once until the follower has caught up.
const PAGE: usize = 200;
/// How long it waits before it asks a database again that has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The end of what a follower is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// A follower of the feed. What it is told is in the form of server-sent events, each with the
/// cursor after it as its id.
pub struct Follower {
    feed: Feed,
    store: Store,
    view: View,
    here: Cursor,
    /// What the process's reader says, once this follower is close to it.
    batches: Option<Receiver<Arc<Batch>>>,
    /// Whether it has to read by itself first.
    is_behind: bool,
    /// The batch that it took last.
    taken: Option<u64>,
}

impl Follower {
    /// A follower from there on. The first page is read at once.
    ///
    /// # Errors
    /// The cursor is gone, or the database fails.
    pub async fn new(
        feed: Feed,
        store: Store,
        since: Since,
        view: View,
    ) -> Result<(Follower, Bytes), FeedError> {
        let page = page(&mut *store.connection().await?, &since, &view, PAGE).await?;
        let here = page.cursor.clone();
        let (batches, taken) = (None, None);
        let follower = Follower { feed, store, view, here, batches, is_behind: true, taken };
        Ok((follower, said(&page)))
    }

    /// Where to go on after all it was told, and after what was not for it.
    pub fn cursor(&self) -> String {
        write(&self.here)
    }

    /// What it is told next; never nothing. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// It has taken too little for too long, its cursor is gone, or the process stops.
    pub async fn next(&mut self) -> Result<Bytes, Ended> {
        loop {
            let text = match self.is_behind {
                true => self.catch_up().await?,
                false => self.take().await?,
            };
            if !text.is_empty() {
                return Ok(text);
            }
        }
    }

    /// Reads a page, and listens before it reads the last: so nothing is missed in between.
    async fn catch_up(&mut self) -> Result<Bytes, Ended> {
        let listening = self.batches.is_some();
        let since = Since::After(Box::new(self.here.clone()));
        let read = async {
            let mut connection = self.store.connection().await?;
            page(&mut connection, &since, &self.view, PAGE).await
        };
        match read.await {
            Ok(page) => {
                if !page.is_full {
                    self.is_behind = !listening;
                    self.batches.get_or_insert_with(|| self.feed.listen());
                }
                self.here = page.cursor.clone();
                Ok(said(&page))
            }
            Err(FeedError::Gone(_)) => Err(Ended),
            Err(FeedError::Store(error)) => {
                if !matches!(error, StoreError::Unavailable(_)) {
                    tracing::warn!(%error, "can't read the change feed; retrying");
                }
                tokio::time::sleep(AFTER_FAILURE).await;
                Ok(Bytes::new())
            }
        }
    }

    async fn take(&mut self) -> Result<Bytes, Ended> {
        let Some(batches) = self.batches.as_mut() else { return Err(Ended) };
        let batch = match batches.recv().await {
            Ok(batch) => batch,
            // It is cut off with its cursor; what it is behind is in the database.
            Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Ended),
        };
        let is_next = self.taken.is_some_and(|taken| batch.number == taken + 1);
        let joins =
            batch.begins && self.here.within.is_none() && batch.base.is_within(&self.here.seen);
        if !is_next && !joins {
            (self.is_behind, self.taken) = (true, None);
            return Ok(Bytes::new());
        }
        self.taken = Some(batch.number);
        Ok(self.told(&batch))
    }

    /// What it is told of a batch.
    fn told(&mut self, batch: &Batch) -> Bytes {
        // Since it came from elsewhere, it may have seen some of it.
        let joins = self.here.seen != batch.base;
        if joins && !self.here.seen.is_within(&batch.to) {
            // All of it: this batch is of before its own last page.
            return Bytes::new();
        }
        let before = self.here.clone();
        self.here = match &batch.cursor.within {
            Some(within) if joins => before.amid(elsewhere(batch, within.after)),
            _ => batch.cursor.clone(),
        };
        if self.view.is_whole() && !joins {
            return batch.text.clone();
        }
        let mut text = String::new();
        for line in &batch.lines {
            if before.seen.shows(line.change.transaction) {
                continue;
            }
            let Some(json) = self.view.told(&line.change) else { continue };
            if joins {
                let cursor = write(&before.amid(elsewhere(batch, line.change.seq)));
                say(&mut text, &cursor, &json);
            } else {
                say(&mut text, &line.cursor, &json);
            }
        }
        text.into()
    }
}

/// A place in the stretch of a batch, for one who has seen other things before than the reader had.
fn elsewhere(batch: &Batch, after: i64) -> Within {
    Within { to: batch.to.clone(), after, late: i64::MAX }
}

/// What a page says.
fn said(page: &Page) -> Bytes {
    let mut text = String::new();
    for entry in &page.entries {
        say(&mut text, &write(&entry.cursor), &entry.json);
    }
    text.into()
}
