//! Query parameters of lists, and pages.

use std::fmt::from_fn;

use paperclip::actix::Apiv2Schema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::task::Status;
use crate::domain::task::rules::SEARCH;
use crate::http::extract::cursor::{TaskCursor, decode, encode};
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::extract::moment::{moment, storable};
use crate::store::task_list::{Position, PositionKey, Sort, SortKey, TaskQuery};

/// How many rows a page has at most, and by default.
pub const MOST: i64 = 100;
pub const USUAL: i64 = 20;

/// The parameters that every list has.
#[derive(Debug, Clone, Apiv2Schema, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "some fields are there for the description alone")]
pub struct ListParams {
    /// How many rows the page has at most.
    pub limit: Option<i64>,
    /// Where to go on: `nextCursor` of the page before.
    pub cursor: Option<String>,
    /// Whether to count the rows of all pages.
    pub total: Option<bool>,
    /// The position that the cursor means.
    #[openapi(skip)]
    #[serde(skip)]
    pub after: Option<i64>,
}

impl FromFields for ListParams {
    fn from_fields(fields: &mut Fields) -> ListParams {
        let after = cursor(fields, |id: &i64| *id >= 0);
        ListParams { limit: limit(fields), cursor: None, total: total(fields), after }
    }
}

impl ListParams {
    /// See [`rows`].
    pub fn rows(&self) -> i64 {
        rows(self.limit)
    }
}

/// The parameters of `GET /tasks/{id}/activity`.
#[derive(Debug, Clone, Apiv2Schema, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "some fields are there for the description alone")]
pub struct ActivityParams {
    /// How many rows the page has at most.
    pub limit: Option<i64>,
    /// Where to go on: `nextCursor` of the page before.
    pub cursor: Option<String>,
    /// Whether to count the rows of all pages.
    pub total: Option<bool>,
    /// The position that the cursor means: version and entry id.
    #[openapi(skip)]
    #[serde(skip)]
    pub before: Option<(i64, i64)>,
}

impl FromFields for ActivityParams {
    fn from_fields(fields: &mut Fields) -> ActivityParams {
        let before = cursor(fields, |_: &(i64, i64)| true);
        ActivityParams { limit: limit(fields), cursor: None, total: total(fields), before }
    }
}

/// The parameters of `GET /tasks`.
#[derive(Debug, Clone, Apiv2Schema, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "some fields are there for the description alone")]
pub struct TaskParams {
    /// How many rows the page has at most.
    pub limit: Option<i64>,
    /// Where to go on: `nextCursor` of the page before, with the same `sort`.
    pub cursor: Option<String>,
    /// Whether to count the rows of all pages.
    pub total: Option<bool>,
    /// Only tasks with this status.
    pub status: Option<Status>,
    /// Only tasks of this user.
    pub user_id: Option<i64>,
    /// Only tasks in this category.
    pub category_id: Option<i64>,
    /// Only tasks with this text in title or description, in any case.
    pub search: Option<String>,
    /// Only tasks due before this time (RFC 3339).
    pub due_before: Option<String>,
    /// Only tasks due after this time (RFC 3339).
    pub due_after: Option<String>,
    /// The order, `-` for descending. A task that is never due comes after all that are.
    pub sort: Option<String>,
    /// What all this means.
    #[openapi(skip)]
    #[serde(skip)]
    pub query: TaskQuery,
}

impl FromFields for TaskParams {
    fn from_fields(fields: &mut Fields) -> TaskParams {
        let orders = from_fn(|f| {
            let names = SortKey::ALL.map(SortKey::name).join(", ");
            write!(
                f,
                "one of {names}, with - before it for descending, such as -createdAt for newest first"
            )
        });
        let statuses =
            from_fn(|f| write!(f, "one of {}", Status::ALL.map(Status::as_str).join(", ")));
        let sort = fields.parameter("sort", orders, Sort::from_name).unwrap_or_default();
        let fits = |TaskCursor(name, position): &TaskCursor| {
            *name == sort.name() && sort.has(position) && sane(position)
        };
        let after = cursor(fields, fits).map(|TaskCursor(_, position)| position);
        let limit = limit(fields);
        let total = total(fields);
        let wanted = format_args!("a text of {} to {} characters", SEARCH.min, SEARCH.max);
        let search = fields.parameter("search", wanted, |text| {
            SEARCH.allows_length_of(text).then(|| text.to_owned())
        });
        let query = TaskQuery {
            status: fields.parameter("status", statuses, Status::from_name),
            user_id: fields.parameter("userId", "a whole number from 1", read_id),
            category_id: fields.parameter("categoryId", "a whole number from 1", read_id),
            search,
            due_before: fields.parameter("dueBefore", "an RFC 3339 time", moment),
            due_after: fields.parameter("dueAfter", "an RFC 3339 time", moment),
            sort,
            after,
            limit: rows(limit),
        };
        TaskParams {
            limit,
            cursor: None,
            total,
            status: None,
            user_id: None,
            category_id: None,
            search: None,
            due_before: None,
            due_after: None,
            sort: None,
            query,
        }
    }
}

impl TaskParams {
    /// A text that is equal for equal queries, and for no others: it is all of the query.
    #[expect(clippy::expect_used, reason = "numbers, texts and times: always JSON")]
    pub fn cache_key(&self) -> String {
        let question = (&self.query, self.total.unwrap_or(false));
        serde_json::to_string(&question).expect("a question is JSON")
    }
}

/// Removes the extra row if all `read` rows are there, and makes the cursor of the next page.
pub fn page<T, P: Serialize>(
    mut rows: Vec<T>,
    read: i64,
    position: impl Fn(&T) -> P,
) -> (Vec<T>, Option<String>) {
    let more = rows.len() as i64 == read;
    if more {
        rows.pop();
    }
    let cursor = rows.last().filter(|_| more).map(|last| encode(&position(last)));
    (rows, cursor)
}

/// The cursor to a task's position.
pub fn task_cursor(sort: Sort, position: Position) -> impl Serialize {
    TaskCursor(sort.name().to_owned(), position)
}

/// Reads the cursor parameter, if it is a position that fits this list.
pub fn cursor<P: DeserializeOwned>(fields: &mut Fields, fits: impl Fn(&P) -> bool) -> Option<P> {
    let expected = "the nextCursor of a page of the same list in the same order";
    fields.parameter("cursor", expected, |text| decode(text).filter(|position| fits(position)))
}

/// Whether PostgreSQL can take this position, which may be forged.
fn sane(position: &Position) -> bool {
    match &position.key {
        PositionKey::At(at) => storable(at),
        PositionKey::Never => true,
        PositionKey::Text(text) => !text.contains('\0'),
    }
}

/// How many rows to read for a page of `limit`: one more, to see whether there is another page.
pub fn rows(limit: Option<i64>) -> i64 {
    limit.unwrap_or(USUAL) + 1
}

/// Reads how many rows the page may have.
pub fn limit(fields: &mut Fields) -> Option<i64> {
    fields.parameter("limit", format_args!("a whole number from 1 to {MOST}"), |text| {
        read_id(text).filter(|n| *n <= MOST)
    })
}

/// Reads whether to count all rows.
pub fn total(fields: &mut Fields) -> Option<bool> {
    fields.parameter("total", "true or false", |text| text.parse().ok())
}

/// Reads an id from a parameter.
pub fn read_id(text: &str) -> Option<i64> {
    text.parse().ok().filter(|n| *n >= 1 && text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        for key in
            [PositionKey::At(Utc::now()), PositionKey::Never, PositionKey::Text("é%_\"𝄞".into())]
        {
            let position = Position { key, id: 7 };
            let text = encode(&TaskCursor("-dueAt".into(), position.clone()));
            let TaskCursor(sort, decoded) = decode(&text).unwrap();
            assert_eq!((sort.as_str(), decoded), ("-dueAt", position));
        }
    }

    #[test]
    fn made_up_cursors_are_refused() {
        for text in ["", "x", "eyJ9", &"A".repeat(5000), "WyItdGl0bGUiLHt9XQ"] {
            assert!(decode::<TaskCursor>(text).is_none(), "{text}");
        }
        assert!(!sane(&Position { key: PositionKey::Text("\0".into()), id: 1 }));
        let far = chrono::DateTime::parse_from_rfc3339("9999-12-31T23:59:59-23:59").unwrap();
        assert!(!sane(&Position { key: PositionKey::At(far.with_timezone(&Utc)), id: 1 }));
    }

    #[test]
    fn a_page_knows_whether_there_is_another() {
        let (rows, cursor) = page(vec![1, 2, 3], 3, |n| *n);
        assert_eq!(rows, [1, 2]);
        assert_eq!(decode::<i64>(&cursor.unwrap()), Some(2));
        assert_eq!(page(vec![1, 2], 3, |n| *n), (vec![1, 2], None));
    }
}
