//! Pages of tasks: filters, sorts and keyset cursors, each walking an index.

mod builder;
mod query;
mod together;

use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use self::builder::Builder;
use self::query::IndexedFilter;
pub use self::query::{Position, PositionKey, Sort, SortKey, TaskQuery};
pub use self::together::{can_go_together, pages};
use crate::domain::task::Task;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};
use crate::store::tasks::{COLUMNS, ColumnTypes};

/// A filtered list looks through this many rows in the order asked for before it turns to the
/// filters' own indexes. Filters that match many rows fill their page here. Filters that don't
/// match so few rows that finding and sorting all of them is quick. Neither way alone is quick for
/// both, and a wrong guess at the better one can cost a walk through the whole table.
const WINDOW: i64 = 2_000;
/// In characters: the trigram index can't find shorter texts.
const TRIGRAM: usize = 3;

/// The limits in the texts of statements. They are few, since each connection keeps each text
/// prepared. Rows beyond the page's own limit are dropped.
const LIMITS: [i64; 6] = [2, 6, 11, 21, 51, 101];

/// A page of tasks.
///
/// # Errors
/// The database fails.
pub async fn page(
    connection: &mut AsyncPgConnection,
    query: &TaskQuery,
) -> Result<Vec<Task>, StoreError> {
    if query.is_stretch() {
        let found = rows(connection, stretch(query).statement()).await?;
        return Ok(cut(found, query));
    }
    let found = load(connection, windowed(query)).await?;
    if found.len() as i64 == query.limit {
        return Ok(found);
    }
    let unindexed = query.search.as_ref().is_some_and(|text| text.chars().count() < TRIGRAM);
    load(connection, if unindexed { ordered(query) } else { filtered(query) }).await
}

/// How many tasks pass the filters, on all pages.
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

/// Refreshes the planner's statistics of tasks where nobody else does: an embedded database has no
/// autovacuum, and would keep a plan from when there were few tasks.
///
/// # Errors
/// The database fails.
pub async fn analyze(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("ANALYZE tasks").await?)
}

/// Moves the pending entries of the search index from their list into the index.
///
/// # Errors
/// The database fails, or another user owns the index.
pub async fn index_pending(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("SELECT gin_clean_pending_list('tasks_search')").await?)
}

/// Plans for the values: they decide whether a filter's index or a sort's is less work.
async fn load(connection: &mut AsyncPgConnection, sql: Builder) -> Result<Vec<Task>, StoreError> {
    rows(connection, sql.statement().planned_for_its_values()).await
}

async fn rows(
    connection: &mut AsyncPgConnection,
    statement: Statement,
) -> Result<Vec<Task>, StoreError> {
    Ok(statement.columns::<ColumnTypes>().load(connection).await?)
}

/// Walks a range of an index, which is the best plan whatever the values are. So the statement is
/// written to be planned once: its limit is in its text, and both ends of due dates are positions,
/// each with an id. Of two unknown dates PostgreSQL assumes that next to nothing is between them,
/// of two unknown positions that much is, and it would plan anew for each pair what must be the
/// same plan.
fn stretch(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("SELECT {COLUMNS} FROM tasks"));
    sql.stretch(query);
    sql.order_within(query.indexed_filter().map(IndexedFilter::column), query.sort);
    sql.fixed_limit(limit(query));
    sql
}

/// Drops the rows beyond the page's own limit.
fn cut(mut found: Vec<Task>, query: &TaskQuery) -> Vec<Task> {
    found.truncate(usize::try_from(query.limit).unwrap_or_default());
    found
}

/// How many rows are read for this page.
fn limit(query: &TaskQuery) -> i64 {
    LIMITS.into_iter().find(|limit| *limit >= query.limit).unwrap_or(query.limit)
}

/// Walks the index of the order.
fn ordered(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("SELECT {COLUMNS} FROM tasks"));
    sql.filters(query);
    sql.position(query);
    sql.search(query);
    sql.order(query.sort);
    sql.limit(query.limit);
    sql
}

/// Filters the first [`WINDOW`] rows in the order asked for.
fn windowed(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM tasks"));
    if query.sort.key == SortKey::DueAt {
        // The due dates asked for are a range of this order: look there.
        sql.due(query);
    }
    sql.position(query);
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
/// whole table for rare rows.
fn filtered(query: &TaskQuery) -> Builder {
    let mut sql = Builder::new(&format!("WITH found AS MATERIALIZED (SELECT {COLUMNS} FROM tasks"));
    sql.filters(query);
    sql.position(query);
    sql.search(query);
    sql.close(&format!(") SELECT {COLUMNS} FROM found"));
    sql.order(query.sort);
    sql.limit(query.limit);
    sql
}
