//! What a list asks for: filters, an order, and a position in it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::task::{Status, Task};

/// Which tasks to list, in which order, and from where on. Serialised it is the key of the cached
/// page, so no field may be left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TaskQuery {
    /// Only tasks with this status.
    pub status: Option<Status>,
    /// Only tasks of this user.
    pub user_id: Option<i64>,
    /// Only tasks in this category.
    pub category_id: Option<i64>,
    /// Only tasks with this text in title or description, ignoring case.
    pub search: Option<String>,
    /// Only tasks due before this time.
    pub due_before: Option<DateTime<Utc>>,
    /// Only tasks due after this time.
    pub due_after: Option<DateTime<Utc>>,
    /// The order; the id breaks ties.
    pub sort: Sort,
    /// The cursor: only tasks after this position.
    pub after: Option<Position>,
    /// The maximum number of tasks.
    pub limit: i64,
}

/// A sort key and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// What to sort by.
    pub key: SortKey,
    /// Whether the largest comes first.
    pub descending: bool,
}

impl Serialize for Sort {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Default for Sort {
    fn default() -> Sort {
        Sort { key: SortKey::CreatedAt, descending: true }
    }
}

/// What tasks can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the fields")]
pub enum SortKey {
    CreatedAt,
    UpdatedAt,
    DueAt,
    Title,
}

impl SortKey {
    /// Every key.
    pub const ALL: [SortKey; 4] =
        [SortKey::CreatedAt, SortKey::UpdatedAt, SortKey::DueAt, SortKey::Title];

    /// The field's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            SortKey::CreatedAt => "createdAt",
            SortKey::UpdatedAt => "updatedAt",
            SortKey::DueAt => "dueAt",
            SortKey::Title => "title",
        }
    }

    /// The expression that the index of this sort is on.
    pub(super) fn expression(self) -> &'static str {
        match self {
            SortKey::CreatedAt => "created_at",
            SortKey::UpdatedAt => "updated_at",
            SortKey::DueAt => NEVER_LAST,
            SortKey::Title => "title",
        }
    }
}

/// Tasks without a due date sort as if they were due at the end of time.
pub(super) const NEVER_LAST: &str = "coalesce(due_at, 'infinity'::timestamptz)";

/// A row's position in an order: its key and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The value the row is sorted by.
    pub key: PositionKey,
    /// The row's id, which breaks ties.
    pub id: i64,
}

/// The value a row is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PositionKey {
    /// A time.
    #[serde(rename = "t")]
    At(DateTime<Utc>),
    /// No due date.
    #[serde(rename = "n")]
    Never,
    /// A title.
    #[serde(rename = "s")]
    Text(String),
}

impl Sort {
    /// Every key, in both directions.
    pub fn all() -> impl Iterator<Item = Sort> {
        SortKey::ALL
            .into_iter()
            .flat_map(|key| [false, true].map(|descending| Sort { key, descending }))
    }

    /// The name that clients use for it, such as `-createdAt`.
    pub fn name(self) -> &'static str {
        let descending = match self.key {
            SortKey::CreatedAt => "-createdAt",
            SortKey::UpdatedAt => "-updatedAt",
            SortKey::DueAt => "-dueAt",
            SortKey::Title => "-title",
        };
        if self.descending { descending } else { self.key.name() }
    }

    /// The order with this name.
    pub fn from_name(name: &str) -> Option<Sort> {
        Sort::all().find(|sort| sort.name() == name)
    }

    /// The position of a task in this order.
    pub fn position(self, task: &Task) -> Position {
        let key = match self.key {
            SortKey::CreatedAt => PositionKey::At(task.created_at),
            SortKey::UpdatedAt => PositionKey::At(task.updated_at),
            SortKey::DueAt => task.due_at.map_or(PositionKey::Never, PositionKey::At),
            SortKey::Title => PositionKey::Text(task.title.clone()),
        };
        Position { key, id: task.id }
    }

    /// Whether a position can occur in this order.
    pub fn has(self, position: &Position) -> bool {
        match (&position.key, self.key) {
            (PositionKey::Text(_), SortKey::Title) | (PositionKey::Never, SortKey::DueAt) => true,
            (PositionKey::At(_), key) => key != SortKey::Title,
            _ => false,
        }
    }
}

impl TaskQuery {
    /// Whether the query asks for one stretch, that is a contiguous range of an index: of an order,
    /// or of the tasks of one status, user or category in the order of their creation.
    pub(super) fn is_stretch(&self) -> bool {
        let due = self.due_before.is_some() || self.due_after.is_some();
        let filters = [self.status.is_some(), self.user_id.is_some(), self.category_id.is_some()];
        let sorted = match filters.into_iter().filter(|set| *set).count() {
            0 => !due || self.sort.key == SortKey::DueAt,
            1 => self.sort.key == SortKey::CreatedAt && !due,
            _ => false,
        };
        sorted && self.search.is_none()
    }

    /// Whether it is a stretch of an order by time.
    pub(super) fn is_stretch_of_time(&self) -> bool {
        self.is_stretch() && self.sort.key != SortKey::Title
    }

    /// For a stretch: what the index begins with, before its order.
    pub(super) fn indexed_filter(&self) -> Option<IndexedFilter> {
        let status = self.status.map(|status| IndexedFilter::Status(status.as_str()));
        status
            .or(self.user_id.map(IndexedFilter::User))
            .or(self.category_id.map(IndexedFilter::Category))
    }

    /// The ends of a stretch of an order by time; neither belongs to it. A cursor moves the start
    /// (in a descending order, the end) closer. A cursor that would widen the stretch was made up
    /// and is ignored.
    pub(super) fn ends(&self) -> (Option<Edge>, Option<Edge>) {
        let after = self.due_after.map(|at| Edge::At(at, i64::MAX));
        let never = self.due_after.map(|_| Edge::Never(0));
        let before = self.due_before.map(|at| Edge::At(at, 0)).or(never);
        let position = self.after.as_ref().and_then(Edge::of);
        match self.sort.descending {
            false => (after.max(position), before),
            true => (after, [before, position].into_iter().flatten().min()),
        }
    }
}

/// A property that tasks share and that has an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexedFilter {
    Status(&'static str),
    User(i64),
    Category(i64),
}

impl IndexedFilter {
    pub(super) fn column(self) -> &'static str {
        match self {
            IndexedFilter::Status(_) => "status",
            IndexedFilter::User(_) => "user_id",
            IndexedFilter::Category(_) => "category_id",
        }
    }
}

/// A position in an order by time: a moment and an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edge {
    At(DateTime<Utc>, i64),
    /// No due date, after all that have one.
    Never(i64),
}

impl Edge {
    pub(super) fn of(position: &Position) -> Option<Edge> {
        match position.key {
            PositionKey::At(at) => Some(Edge::At(at, position.id)),
            PositionKey::Never => Some(Edge::Never(position.id)),
            PositionKey::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_found_by_its_name() {
        for sort in Sort::all() {
            assert_eq!(Sort::from_name(sort.name()), Some(sort));
            assert_eq!(sort.name().trim_start_matches('-'), sort.key.name());
        }
        assert_eq!(Sort::from_name("--title"), None);
    }

    #[test]
    fn a_cursor_narrows_the_stretch_of_due_dates_and_never_widens_it() {
        let day = |n: i64| DateTime::<Utc>::from_timestamp(n * 86_400, 0).unwrap();
        let query = |descending, position: Option<PositionKey>| TaskQuery {
            due_after: Some(day(10)),
            due_before: Some(day(20)),
            sort: Sort { key: SortKey::DueAt, descending },
            after: position.map(|key| Position { key, id: 7 }),
            ..TaskQuery::default()
        };
        let (first, last) = (Edge::At(day(10), i64::MAX), Edge::At(day(20), 0));
        let (inside, at) = (Some(PositionKey::At(day(15))), Edge::At(day(15), 7));
        assert_eq!(query(false, None).ends(), (Some(first), Some(last)));
        assert_eq!(query(false, inside.clone()).ends(), (Some(at), Some(last)));
        assert_eq!(query(true, inside).ends(), (Some(first), Some(at)));
        let (early, late) = (Some(PositionKey::At(day(5))), Some(PositionKey::Never));
        assert_eq!(query(false, early).ends(), (Some(first), Some(last)));
        assert_eq!(query(true, late).ends(), (Some(first), Some(last)));
        let open = TaskQuery { due_before: None, ..query(false, None) };
        assert_eq!(open.ends(), (Some(first), Some(Edge::Never(0))));
        let all = TaskQuery { due_after: None, ..open };
        assert_eq!(all.ends(), (None, None));
    }

    #[test]
    fn a_place_of_another_order_is_told_apart() {
        let by = |key| Sort { key, descending: false };
        let at = Position { key: PositionKey::At(Utc::now()), id: 1 };
        let text = Position { key: PositionKey::Text("x".into()), id: 1 };
        let never = Position { key: PositionKey::Never, id: 1 };
        assert!(
            by(SortKey::DueAt).has(&at)
                && by(SortKey::DueAt).has(&never)
                && by(SortKey::Title).has(&text)
        );
        assert!(!by(SortKey::Title).has(&at) && !by(SortKey::CreatedAt).has(&never));
        assert!(!by(SortKey::DueAt).has(&text));
    }
}
