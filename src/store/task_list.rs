//! Pages of tasks: filters, sorts and keyset cursors, each walking an index.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};

use crate::domain::task::{Status, Task};
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};
use crate::store::tasks::{COLUMNS, ColumnTypes};

/// Which tasks, in which order, from where on.
#[derive(Debug, Clone, Default)]
pub struct TaskQuery {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this user.
    pub user_id: Option<i64>,
    /// Only in this category.
    pub category_id: Option<i64>,
    /// Only with this text in title or description, in any case.
    pub search: Option<String>,
    /// Only due before.
    pub due_before: Option<DateTime<Utc>>,
    /// Only due after.
    pub due_after: Option<DateTime<Utc>>,
    /// In which order; the id decides among equals.
    pub sort: Sort,
    /// Only after this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: i64,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub key: SortKey,
    /// Greatest first.
    pub descending: bool,
}

impl Default for Sort {
    fn default() -> Sort {
        Sort { key: SortKey::CreatedAt, descending: true }
    }
}

/// By what tasks can be sorted.
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
    fn expression(self) -> &'static str {
        match self {
            SortKey::CreatedAt => "created_at",
            SortKey::UpdatedAt => "updated_at",
            SortKey::DueAt => NEVER_LAST,
            SortKey::Title => "title",
        }
    }
}

/// No due date sorts as the end of time.
const NEVER_LAST: &str = "coalesce(due_at, 'infinity'::timestamptz)";

/// A row's place in an order: its key and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The key.
    pub key: PlaceKey,
    /// The id.
    pub id: i64,
}

/// The value a row is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaceKey {
    /// A moment.
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
    /// The place of a task in this order.
    pub fn place(self, task: &Task) -> Place {
        let key = match self.key {
            SortKey::CreatedAt => PlaceKey::At(task.created_at),
            SortKey::UpdatedAt => PlaceKey::At(task.updated_at),
            SortKey::DueAt => task.due_at.map_or(PlaceKey::Never, PlaceKey::At),
            SortKey::Title => PlaceKey::Text(task.title.clone()),
        };
        Place { key, id: task.id }
    }

    /// Whether a place can be one in this order.
    pub fn has(self, place: &Place) -> bool {
        match (&place.key, self.key) {
            (PlaceKey::Text(_), SortKey::Title) | (PlaceKey::Never, SortKey::DueAt) => true,
            (PlaceKey::At(_), key) => key != SortKey::Title,
            _ => false,
        }
    }
}

/// A filtered list looks through this many rows in the order asked for before it turns to the
/// filters' own indexes. Filters that let much through fill their page here; where they don't, they
/// let so little through that finding it all and sorting it is quick. Neither way alone is quick for
/// both, and a guess at which is better can cost a walk through the whole table.
const WINDOW: i64 = 2_000;
/// A trigram index knows nothing of shorter texts.
const TRIGRAM: usize = 3;

/// A page of tasks.
///
/// # Errors
/// The database fails.
pub async fn page(
    connection: &mut AsyncPgConnection,
    query: &TaskQuery,
) -> Result<Vec<Task>, StoreError> {
    if query.has_index() {
        // The one index is the best way whatever the values are, so the statement is prepared once.
        return rows(connection, ordered(query).statement()).await;
    }
    let found = load(connection, windowed(query)).await?;
    if found.len() as i64 == query.limit {
        return Ok(found);
    }
    let unindexed = query.search.as_ref().is_some_and(|text| text.chars().count() < TRIGRAM);
    load(connection, if unindexed { ordered(query) } else { filtered(query) }).await
}

impl TaskQuery {
    /// Whether one index has both the filter and the order.
    fn has_index(&self) -> bool {
        let equalities =
            [self.status.is_some(), self.user_id.is_some(), self.category_id.is_some()];
        let due = self.due_before.is_some() || self.due_after.is_some();
        let others = self.search.is_some() || (due && self.sort.key != SortKey::DueAt);
        match equalities.into_iter().filter(|set| *set).count() {
            0 => !others,
            1 => !others && self.sort.key == SortKey::CreatedAt,
            _ => false,
        }
    }
}

/// How many tasks pass the filters, wherever the page is.
///
/// # Errors
/// The database fails.
pub async fn total(
    connection: &mut AsyncPgConnection,
    query: &TaskQuery,
) -> Result<i64, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Total {
        #[diesel(sql_type = BigInt)]
        total: i64,
    }
    let mut sql = Builder::new("SELECT count(*) AS total FROM tasks");
    sql.filters(query);
    sql.search(query);
    let statement = sql.statement().planned_for_its_values();
    let total: Total = statement.get_result(connection).await?;
    Ok(total.total)
}

/// The values decide whether a filter's index or a sort's is less work.
async fn load(connection: &mut AsyncPgConnection, sql: Builder) -> Result<Vec<Task>, StoreError> {
    rows(connection, sql.statement().planned_for_its_values()).await
}

async fn rows(
    connection: &mut AsyncPgConnection,
    statement: Statement,
) -> Result<Vec<Task>, StoreError> {
    Ok(statement.columns::<ColumnTypes>().load(connection).await?)
}

/// Walks the index of the order.
fn ordered(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("SELECT {COLUMNS} FROM tasks"));
    sql.filters(query);
    sql.place(query);
    sql.search(query);
    sql.order(query.sort);
    sql.limit(query.limit);
    sql
}

/// Filters the first rows in the order asked for.
fn windowed(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM tasks"));
    if query.sort.key == SortKey::DueAt {
        // Where the dates wanted are is a stretch of this order: look there.
        sql.due(query);
    }
    sql.place(query);
    sql.order(query.sort);
    sql.limit(WINDOW);
    sql.close(") AS near");
    sql.filters(query);
    sql.search(query);
    sql.order(query.sort);
    sql.limit(query.limit);
    sql
}

/// Finds every row first and sorts after, so that the order can't tempt PostgreSQL to walk the
/// whole table for what is hardly anywhere.
fn filtered(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("WITH found AS MATERIALIZED (SELECT {COLUMNS} FROM tasks"));
    sql.filters(query);
    sql.place(query);
    sql.search(query);
    sql.close(&format!(") SELECT {COLUMNS} FROM found"));
    sql.order(query.sort);
    sql.limit(query.limit);
    sql
}

/// Puts a statement together, value by value.
struct Builder {
    sql: String,
    filtered: bool,
    values: Vec<Value>,
}

enum Value {
    Int(i64),
    Text(String),
    At(DateTime<Utc>),
}

impl Builder {
    fn new(sql: &str) -> Builder {
        Builder { sql: sql.to_owned(), filtered: false, values: Vec::new() }
    }

    fn filters(&mut self, query: &TaskQuery) {
        if let Some(status) = query.status {
            self.compare("status =", Value::Text(status.as_str().to_owned()));
        }
        if let Some(id) = query.user_id {
            self.compare("user_id =", Value::Int(id));
        }
        if let Some(id) = query.category_id {
            self.compare("category_id =", Value::Int(id));
        }
        self.due(query);
    }

    fn due(&mut self, query: &TaskQuery) {
        if let Some(at) = query.due_before {
            self.compare(&format!("{NEVER_LAST} <"), Value::At(at));
        }
        if let Some(at) = query.due_after {
            self.compare(&format!("{NEVER_LAST} >"), Value::At(at));
            self.condition(&format!("{NEVER_LAST} < 'infinity'"));
        }
    }

    fn search(&mut self, query: &TaskQuery) {
        if let Some(text) = &query.search {
            let pattern = self.value(Value::Text(containing(text)));
            self.condition(&format!("(title ILIKE {pattern} OR description ILIKE {pattern})"));
        }
    }

    fn place(&mut self, query: &TaskQuery) {
        let Some(place) = &query.after else { return };
        let key = match &place.key {
            PlaceKey::At(at) => self.value(Value::At(*at)),
            PlaceKey::Never => "'infinity'::timestamptz".to_owned(),
            PlaceKey::Text(text) => self.value(Value::Text(text.clone())),
        };
        let id = self.value(Value::Int(place.id));
        let expression = query.sort.key.expression();
        let sign = if query.sort.descending { '<' } else { '>' };
        self.condition(&format!("({expression}, id) {sign} ({key}, {id})"));
    }

    fn order(&mut self, sort: Sort) {
        let expression = sort.key.expression();
        let direction = if sort.descending { " DESC" } else { "" };
        self.sql.push_str(&format!(" ORDER BY {expression}{direction}, id{direction}"));
    }

    fn limit(&mut self, limit: i64) {
        let limit = self.value(Value::Int(limit));
        self.sql.push_str(&format!(" LIMIT {limit}"));
    }

    /// Ends a subquery: the conditions that follow are the outer query's.
    fn close(&mut self, sql: &str) {
        self.sql.push_str(sql);
        self.filtered = false;
    }

    fn compare(&mut self, left: &str, value: Value) {
        let value = self.value(value);
        self.condition(&format!("{left} {value}"));
    }

    fn condition(&mut self, condition: &str) {
        self.sql.push_str(if self.filtered { " AND " } else { " WHERE " });
        self.sql.push_str(condition);
        self.filtered = true;
    }

    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn statement(self) -> Statement {
        let statement = Statement::new(self.sql);
        self.values.into_iter().fold(statement, |statement, value| match value {
            Value::Int(i) => statement.bind::<BigInt, _>(i),
            Value::Text(t) => statement.bind::<Text, _>(t),
            Value::At(t) => statement.bind::<Timestamptz, _>(t),
        })
    }
}

/// A LIKE pattern for anything that contains this text literally.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_taken_literally() {
        assert_eq!(containing(r"100%_a\b"), r"%100\%\_a\\b%");
    }

    #[test]
    fn a_place_of_another_order_is_told_apart() {
        let by = |key| Sort { key, descending: false };
        let at = Place { key: PlaceKey::At(Utc::now()), id: 1 };
        let text = Place { key: PlaceKey::Text("x".into()), id: 1 };
        let never = Place { key: PlaceKey::Never, id: 1 };
        assert!(
            by(SortKey::DueAt).has(&at)
                && by(SortKey::DueAt).has(&never)
                && by(SortKey::Title).has(&text)
        );
        assert!(!by(SortKey::Title).has(&at) && !by(SortKey::CreatedAt).has(&never));
        assert!(!by(SortKey::DueAt).has(&text));
    }
}
