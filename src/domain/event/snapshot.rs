//! Positions in the change feed. A position is a snapshot: what was committed when it was taken.
//!
//! A sequence number would not do, since numbers are given before the commit: who reads up to a
//! number misses what commits below it later. Nor would a transaction's id: it is given before the
//! transaction waits for a row's lock, so it can invert two versions of a task. Between two
//! snapshots, however, everything committed is known, and in the order of `seq` the versions of a
//! task ascend: a version is numbered while its transaction holds the lock on the row.

use serde::{Deserialize, Serialize};

/// What was committed at a moment, as far as events tell: PostgreSQL's snapshot
/// (<https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT>), bounded by
/// the newest transaction whose event it shows.
///
/// Without that bound it could show ids of transactions that a crash of the server undoes, as it
/// may undo those that commit without waiting for the disk: their ids are given again, to
/// transactions that would then seem to have been seen. An event is on disk before it is visible,
/// and ids below its transaction's are never given again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Transactions from this one on are not in it.
    next: i64,
    /// Transactions that were open, in ascending order: they are not in it either.
    open: Vec<i64>,
    /// The highest sequence number in it. What is not in it usually has a higher one.
    last_seq: i64,
    /// A part of the id of the event with that number: it tells whether a database that was failed
    /// over to has the event.
    last_event: u64,
    /// When it was taken, in seconds since 1970, by the database's clock.
    at: i64,
}

/// The newest event that a snapshot shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// The highest transaction with an event.
    pub transaction: i64,
    /// The highest sequence number.
    pub seq: i64,
    /// A part of the id of the event with that number.
    pub event: u64,
}

impl Snapshot {
    /// A snapshot as PostgreSQL writes it (`xmin:xmax:xip,…`), taken at this second.
    pub fn new(text: &str, newest: Newest, at: i64) -> Option<Snapshot> {
        let open = text.splitn(3, ':').nth(2)?.split(',').filter(|id| !id.is_empty());
        let mut open: Vec<i64> = open.map(str::parse).collect::<Result<_, _>>().ok()?;
        open.sort_unstable();
        let Newest { transaction, seq, event } = newest;
        Some(Snapshot { next: transaction + 1, open, last_seq: seq, last_event: event, at })
    }

    /// A snapshot of the same time that shows nothing.
    pub fn of_nothing(&self) -> Snapshot {
        Snapshot { at: self.at, ..Snapshot::default() }
    }

    /// Whether it shows what this transaction did, if that was committed.
    pub fn shows(&self, transaction: i64) -> bool {
        transaction < self.next && self.open.binary_search(&transaction).is_err()
    }

    /// Whether the other shows all that this one shows. Of two snapshots of one history, one always
    /// does.
    pub fn is_within(&self, other: &Snapshot) -> bool {
        self.next <= other.next && !other.open.iter().any(|id| self.shows(*id))
    }

    /// The first transaction after all that it shows.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Transactions that were open when it was taken.
    pub fn open(&self) -> &[i64] {
        &self.open
    }

    /// The highest sequence number in it; 0 if it shows nothing.
    pub fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// A part of the id of the event with that number.
    pub fn last_event(&self) -> u64 {
        self.last_event
    }

    fn is_possible(&self) -> bool {
        let numbers = [self.next, self.last_seq, self.at];
        numbers.iter().chain(&self.open).all(|number| *number >= 0)
    }

    /// When it was taken, in seconds since 1970, by the database's clock.
    pub fn taken_at(&self) -> i64 {
        self.at
    }

    /// Whether it was taken before this second.
    pub fn is_before(&self, second: i64) -> bool {
        self.at < second
    }
}

/// Where a follower of the feed stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The database: [`crate::store`] has its identity.
    pub history: String,
    /// The database's timeline: another one since a failover or a restore to a point in time.
    pub timeline: i32,
    /// What the follower has seen.
    pub seen: Snapshot,
    /// Where it is in what another snapshot shows beyond that.
    pub within: Option<Within>,
}

/// A place in what a snapshot shows beyond what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Within {
    /// That snapshot.
    pub to: Snapshot,
    /// The sequence number up to which it was seen.
    pub after: i64,
    /// The highest transaction that was not seen although its event has no higher sequence number
    /// than one that was: so far one has to look for such events.
    pub late: i64,
}

impl Cursor {
    /// The sequence number up to which everything in the present stretch was seen.
    pub fn after(&self) -> i64 {
        self.within.as_ref().map_or(0, |within| within.after)
    }

    /// The newest snapshot of which it has seen something.
    pub fn newest(&self) -> &Snapshot {
        self.within.as_ref().map_or(&self.seen, |within| &within.to)
    }

    /// Up to which transaction to look for events that were not seen although their sequence
    /// numbers are not higher. Whoever has seen nothing has missed none of those.
    pub fn late(&self) -> i64 {
        match &self.within {
            _ if self.seen.last_seq == 0 => 0,
            Some(within) => within.late,
            None => i64::MAX,
        }
    }

    /// Whether a database can have given it out, as far as its numbers tell: none is negative.
    pub fn is_possible(&self) -> bool {
        let within = self.within.as_ref();
        let rest = within.map_or([0, 0], |within| [within.after, within.late]);
        self.seen.is_possible()
            && within.is_none_or(|within| within.to.is_possible())
            && rest.iter().all(|number| *number >= 0)
    }

    /// The same at another place.
    pub fn amid(&self, within: Within) -> Cursor {
        Cursor { within: Some(within), ..self.clone() }
    }
}

/// A snapshot as it is written: open transactions by their distance from the next.
type Written = (i64, Vec<i64>, i64, u64, i64);

impl From<&Snapshot> for Written {
    fn from(of: &Snapshot) -> Written {
        let distances = of.open.iter().map(|id| of.next.wrapping_sub(*id)).collect();
        (of.next, distances, of.last_seq, of.last_event, of.at)
    }
}

impl From<Written> for Snapshot {
    fn from((next, distances, last_seq, last_event, at): Written) -> Snapshot {
        let mut open: Vec<i64> = distances.iter().map(|far| next.wrapping_sub(*far)).collect();
        open.sort_unstable();
        Snapshot { next, open, last_seq, last_event, at }
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let within = self.within.as_ref();
        let within = within.map(|within| (Written::from(&within.to), within.after, within.late));
        (&self.history, self.timeline, Written::from(&self.seen), within).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Cursor, D::Error> {
        let (history, timeline, seen, within) =
            <(String, i32, Written, Option<(Written, i64, i64)>)>::deserialize(deserializer)?;
        let within = within.map(|(to, after, late)| Within { to: to.into(), after, late });
        Ok(Cursor { history, timeline, seen: seen.into(), within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str, transaction: i64, seq: i64) -> Snapshot {
        Snapshot::new(text, Newest { transaction, seq, event: 7 }, 100).unwrap()
    }

    #[test]
    fn it_shows_what_was_committed_and_has_an_event() {
        let taken = snapshot("10:20:10,15", 18, 5);
        for (transaction, shown) in [(9, true), (10, false), (12, true), (15, false), (18, true)] {
            assert_eq!(taken.shows(transaction), shown, "{transaction}");
        }
        // Committed, but without an event: a crash may give its id to another.
        assert!(!taken.shows(19) && !taken.shows(20));
        for wrong in ["", "1", "1:2", "1:2:x", "1:2:3,"] {
            let made = Snapshot::new(wrong, Newest::default(), 0);
            assert_eq!(made.is_some(), wrong == "1:2:3,", "{wrong}");
        }
        assert_eq!(snapshot("7:7:", 0, 0).open(), [] as [i64; 0]);
    }

    #[test]
    fn of_two_snapshots_one_shows_all_of_the_other() {
        let earlier = snapshot("10:20:10,15", 18, 5);
        let later = snapshot("10:30:10", 28, 9);
        assert!(earlier.is_within(&later) && !later.is_within(&earlier));
        assert!(earlier.is_within(&earlier));
        // The same transactions with events, and one of the open ones has ended.
        let ended = snapshot("15:20:15", 18, 5);
        assert!(earlier.is_within(&ended) && !ended.is_within(&earlier));
        assert!(Snapshot::default().is_within(&earlier));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let seen = snapshot("10:20:10,15", 8, 5);
        let cursor = Cursor { history: "h".into(), timeline: 1, seen, within: None };
        let within = Within { to: snapshot("40:40:", 39, 12), after: 7, late: 22 };
        for cursor in [cursor.clone(), cursor.amid(within)] {
            let text = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&text).unwrap(), cursor, "{text}");
        }
    }
}
