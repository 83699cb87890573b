//! The change feed: whoever follows it from a cursor is told each event that they may see, once,
//! and the versions of a task in order.
//!
//! A page is what one snapshot shows beyond another, in the order of `seq`
//! ([`crate::domain::event::snapshot`] says why). Pages are read for each request; those who listen
//! share one reader in each process (`hub.rs`).

mod cursor;
mod entry;
mod follower;
mod hub;
mod stretch;

use crate::domain::event::snapshot::Cursor;
use crate::store::events::changes::{self, Moment};
use crate::store::{Connection, StoreError};

pub use cursor::{read, write};
pub use entry::{REMOVED, View, example};
pub use follower::{Ended, Follower};
pub use hub::Feed;
pub use stretch::Stretch;

/// How many events are read at once where some of them may not be for the reader.
const CHUNK: usize = 1_000;
/// How often that is done for one page. A page that has found nothing by then is empty, and its
/// cursor goes on from there.
const MOST_CHUNKS: usize = 20;

/// Where to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Since {
    /// With the oldest event that there is.
    #[default]
    Oldest,
    /// With what comes from now on.
    Now,
    /// Where this cursor has got to.
    After(Box<Cursor>),
}

/// Why a page can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedError {
    /// The cursor leads nowhere any more; the text says why.
    #[error("{0}")]
    Gone(&'static str),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const PURGED: FeedError = FeedError::Gone(
    "events that this cursor has not seen were purged: read what you need from the lists, then \
     follow from since=now",
);
const ELSEWHERE: FeedError = FeedError::Gone(
    "the cursor is of another database: read what you need from the lists, then follow from since=now",
);
const LOST: FeedError = FeedError::Gone(
    "the database was restored or failed over and has lost events that this cursor has seen: read \
     what you need from the lists, then follow from since=now",
);

/// A page of the feed.
#[derive(Debug, Clone)]
pub struct Page {
    /// What the reader is told, in order.
    pub entries: Vec<Entry>,
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether there is more already, for all that is known.
    pub is_full: bool,
}

/// One event as a reader is told of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it says, as JSON.
    pub json: String,
    /// Where to go on after it.
    pub cursor: Cursor,
}

/// Reads the page of at most `limit` entries that follows.
///
/// # Errors
/// The cursor is [`Gone`](FeedError::Gone), or the database fails.
pub async fn page(
    connection: &mut Connection,
    since: &Since,
    view: &View,
    limit: usize,
) -> Result<Page, FeedError> {
    let mut cursor = match since {
        Since::After(cursor) => Cursor::clone(cursor),
        Since::Now | Since::Oldest => {
            if *since == Since::Now {
                let cursor = now(connection).await?.cursor();
                return Ok(Page { entries: Vec::new(), cursor, is_full: false });
            }
            beginning(connection).await?
        }
    };
    let mut entries = Vec::new();
    for _ in 0..MOST_CHUNKS {
        let rows = if view.is_whole() { limit - entries.len() } else { CHUNK };
        let stretch = Stretch::read(connection, &cursor, view.user(), rows).await?;
        let was_amid = cursor.within.is_some();
        for change in stretch.unseen(&cursor) {
            let Some(json) = view.told(change) else { continue };
            let after = cursor.amid(stretch.at(change.seq));
            entries.push(Entry { json, cursor: after.clone() });
            if entries.len() == limit {
                return Ok(Page { entries, cursor: after, is_full: true });
            }
        }
        cursor = stretch.end(&cursor);
        if !stretch.is_full && !was_amid {
            return Ok(Page { entries, cursor, is_full: false });
        }
    }
    Ok(Page { entries, cursor, is_full: true })
}

/// The present moment of the database.
///
/// # Errors
/// The database fails.
pub async fn now(connection: &mut Connection) -> Result<Moment, StoreError> {
    Ok(changes::read(connection, &Cursor::default(), None, 0).await?.0)
}

/// The cursor of who has seen nothing yet.
///
/// # Errors
/// The database fails.
pub async fn beginning(connection: &mut Connection) -> Result<Cursor, StoreError> {
    let cursor = now(connection).await?.cursor();
    Ok(Cursor { seen: cursor.seen.of_nothing(), ..cursor })
}
