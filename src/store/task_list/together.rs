//! Several pages in one statement.
//!
//! Where an index has the page, most of its cost is that of any statement: the round trip, the
//! start and the end. So pages of the same order that are asked for at the same time share a
//! statement, in which each is an index walk of its own.

use chrono::DateTime;
use diesel::data_types::PgTimestamp;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};
use diesel_async::AsyncPgConnection;

use super::builder::Builder;
use super::query::{Edge, IndexedFilter, Sort, TaskQuery};
use super::{cut, limit, page};
use crate::domain::task::Task;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, unseen};
use crate::store::tasks::{COLUMNS, ColumnTypes};

/// Whether this page can share a statement with others: it must be one range of an order by time.
/// For titles, only the database knows the order.
pub fn can_go_together(query: &TaskQuery) -> bool {
    query.is_stretch_of_time()
}

/// What pages must have in common to share a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// The column that the index begins with, before the order.
    column: Option<&'static str>,
    sort: Sort,
    limit: i64,
}

/// Reads a page for each query. Each must pass [`can_go_together`]. Pages of one shape share a
/// statement.
///
/// # Errors
/// The database fails; all pages of a statement have the same error.
pub async fn pages(
    connection: &mut AsyncPgConnection,
    queries: &[TaskQuery],
) -> Vec<Result<Vec<Task>, StoreError>> {
    let mut statements: Vec<(Shape, Vec<usize>)> = Vec::new();
    for (number, query) in queries.iter().enumerate() {
        let column = query.indexed_filter().map(IndexedFilter::column);
        let shape = Shape { column, sort: query.sort, limit: limit(query) };
        match statements.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, numbers)) => numbers.push(number),
            None => statements.push((shape, vec![number])),
        }
    }
    let mut answers = vec![Ok(Vec::new()); queries.len()];
    let mut gone = None;
    for (shape, numbers) in statements {
        // If the server is gone, each further statement would wait for it as long as the first did.
        // If only the first failed, the next callers find out.
        if let Some(error) = &gone {
            numbers.into_iter().for_each(|n| answers[n] = Err(StoreError::clone(error)));
            continue;
        }
        let wanted: Vec<&TaskQuery> = numbers.iter().map(|number| &queries[*number]).collect();
        let found = match wanted[..] {
            [one] => page(connection, one).await.map(|page| vec![page]),
            _ => stretches(connection, shape, &wanted).await,
        };
        match found {
            Ok(found) => {
                for (number, page) in numbers.into_iter().zip(found) {
                    answers[number] = Ok(cut(page, &queries[number]));
                }
            }
            Err(error) => {
                numbers.into_iter().for_each(|n| answers[n] = Err(error.clone()));
                gone = matches!(error, StoreError::Unavailable(_)).then_some(error);
            }
        }
    }
    answers
}

/// Reads several ranges of one index, each up to the limit of the shape.
async fn stretches(
    connection: &mut AsyncPgConnection,
    shape: Shape,
    queries: &[&TaskQuery],
) -> Result<Vec<Vec<Task>>, StoreError> {
    let (begins, ends): (Vec<_>, Vec<_>) = queries
        .iter()
        .map(|query| {
            let (begin, end) = query.ends();
            (begin.map_or(BEFORE_ALL, position), end.map_or(AFTER_ALL, position))
        })
        .unzip();
    let (after, after_id): (Vec<_>, Vec<_>) = begins.into_iter().unzip();
    let (before, before_id): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let statement = text(shape)
        .statement()
        .bind::<Array<Timestamptz>, _>(after)
        .bind::<Array<BigInt>, _>(after_id)
        .bind::<Array<Timestamptz>, _>(before)
        .bind::<Array<BigInt>, _>(before_id);
    let within: Vec<IndexedFilter> =
        queries.iter().filter_map(|query| query.indexed_filter()).collect();
    let statement = match within[..] {
        [] => statement,
        [IndexedFilter::Status(_), ..] => {
            statement.bind::<Array<Text>, _>(each(&within, |w| match w {
                IndexedFilter::Status(name) => Some(name),
                _ => None,
            }))
        }
        _ => statement.bind::<Array<BigInt>, _>(each(&within, |w| match w {
            IndexedFilter::User(id) | IndexedFilter::Category(id) => Some(id),
            IndexedFilter::Status(_) => None,
        })),
    };
    let statement = statement.columns::<(BigInt, ColumnTypes)>();
    let rows: Vec<(i64, Task)> = statement.load(connection).await?;
    let mut pages = vec![Vec::new(); queries.len()];
    for (number, task) in rows {
        // `WITH ORDINALITY` counts from one.
        if let Some(page) = usize::try_from(number - 1).ok().and_then(|n| pages.get_mut(n)) {
            page.push(task);
        }
    }
    pages.iter_mut().for_each(|page| put_in_order(page, shape.sort));
    Ok(pages)
}

fn each<T>(within: &[IndexedFilter], value: impl Fn(IndexedFilter) -> Option<T>) -> Vec<T> {
    within.iter().copied().filter_map(value).collect()
}

/// The statement for pages of a shape.
fn text(shape: Shape) -> Builder {
    let key = shape.sort.key.expression();
    let (values, name, common, column) = match shape.column {
        Some(column) => (5, ", common", "common, ", format!("{column}, ")),
        None => (4, "", "", String::new()),
    };
    let mut sql = Builder::new(&format!(
        "SELECT number, {COLUMNS}
         FROM unnest({positions})
              WITH ORDINALITY AS wanted (after, after_id, before, before_id{name}, number),
         LATERAL (
             SELECT {COLUMNS} FROM tasks
             WHERE ({column}{key}, id) > ({common}after, after_id)
               AND ({column}{key}, id) < ({common}before, before_id)",
        positions = unseen(1..=values)
    ));
    sql.order_within(shape.column, shape.sort);
    sql.fixed_limit(shape.limit);
    sql.close(") AS stretch");
    sql
}

/// SQL promises no order of joined rows, although each walk has its own: usually this finds the
/// rows sorted already.
fn put_in_order(page: &mut [Task], sort: Sort) {
    let position = |task: &Task| Edge::of(&sort.position(task));
    page.sort_by(|one, other| {
        let order = position(one).cmp(&position(other));
        if sort.descending { order.reverse() } else { order }
    });
}

/// PostgreSQL's times are microseconds since the start of 2000; the smallest and the largest are
/// `-infinity` and `infinity`.
const BEFORE_ALL: (PgTimestamp, i64) = (PgTimestamp(i64::MIN), i64::MIN);
const AFTER_ALL: (PgTimestamp, i64) = (PgTimestamp(i64::MAX), i64::MAX);
const YEAR_2000: DateTime<chrono::Utc> = match DateTime::from_timestamp_secs(946_684_800) {
    Some(year) => year,
    None => DateTime::UNIX_EPOCH,
};

fn position(edge: Edge) -> (PgTimestamp, i64) {
    match edge {
        // chrono's times don't reach far enough to overflow this.
        Edge::At(at, id) => {
            let since = (at - YEAR_2000).num_microseconds().unwrap_or(i64::MAX);
            (PgTimestamp(since), id)
        }
        Edge::Never(id) => (AFTER_ALL.0, id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_postgresqls_time() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let micros = |text| position(Edge::At(at(text), 7));
        assert_eq!(micros("2000-01-01T00:00:00Z"), (PgTimestamp(0), 7));
        assert_eq!(micros("2000-01-01T00:00:01.000002Z"), (PgTimestamp(1_000_002), 7));
        assert_eq!(micros("1999-12-31T23:59:59Z"), (PgTimestamp(-1_000_000), 7));
        assert_eq!(position(Edge::Never(7)), (PgTimestamp(i64::MAX), 7));
    }
}
