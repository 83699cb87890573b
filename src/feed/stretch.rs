//! A part of the feed that was read at once, and where it leads.

use super::{ELSEWHERE, FeedError, LOST, PURGED};
use crate::domain::event::snapshot::{Cursor, Snapshot, Within};
use crate::store::Connection;
use crate::store::events::changes::{self, Change, Moment};

/// Events that follow a cursor, up to the end of a snapshot or to a limit.
pub struct Stretch {
    moment: Moment,
    /// The snapshot whose events these are.
    pub(super) to: Snapshot,
    late: i64,
    pub(super) changes: Vec<Change>,
    /// Whether as many were read as was asked for; then there may be more.
    pub(super) is_full: bool,
}

impl Stretch {
    /// Reads it from the database, at most so many rows.
    ///
    /// # Errors
    /// The cursor is gone, or the database fails.
    pub async fn read(
        connection: &mut Connection,
        cursor: &Cursor,
        user: Option<i64>,
        rows: usize,
    ) -> Result<Stretch, FeedError> {
        let limit = i64::try_from(rows).unwrap_or(i64::MAX);
        let (moment, changes) = changes::read(connection, cursor, user, limit).await?;
        if cursor.history != moment.history {
            return Err(ELSEWHERE);
        }
        if cursor.timeline != moment.timeline
            && !changes::has_newest(connection, cursor.newest()).await?
        {
            return Err(LOST);
        }
        // What it has not seen was published after it was given out.
        if cursor.seen.is_before(moment.purged_before) {
            return Err(PURGED);
        }
        Ok(Stretch::of(cursor, moment, changes, rows))
    }

    /// What was found beyond a cursor, of which so many rows were wanted.
    pub fn of(cursor: &Cursor, moment: Moment, changes: Vec<Change>, rows: usize) -> Stretch {
        let (to, late) = match &cursor.within {
            Some(within) => (within.to.clone(), within.late),
            None => (moment.snapshot.clone(), moment.late),
        };
        Stretch { to, late, is_full: changes.len() == rows, changes, moment }
    }

    /// Those that the cursor has not seen, and that the snapshot shows. What it doesn't show comes
    /// with a later one.
    pub fn unseen(&self, cursor: &Cursor) -> impl Iterator<Item = &Change> {
        let is_new = |change: &&Change| {
            !cursor.seen.shows(change.transaction) && self.to.shows(change.transaction)
        };
        self.changes.iter().filter(is_new)
    }

    /// The place after the event with this number.
    pub(super) fn at(&self, after: i64) -> Within {
        Within { to: self.to.clone(), after, late: self.late }
    }

    /// Where to go on after all of them.
    pub fn end(&self, cursor: &Cursor) -> Cursor {
        let Moment { history, timeline, .. } = &self.moment;
        let here = Cursor { history: history.clone(), timeline: *timeline, ..cursor.clone() };
        match self.changes.last() {
            Some(last) if self.is_full => here.amid(self.at(last.seq)),
            _ => Cursor { seen: self.to.clone(), within: None, ..here },
        }
    }
}
