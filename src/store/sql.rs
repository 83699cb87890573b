//! Statements that diesel's query builder can't express: those that write two tables at once, or
//! many rows from arrays.

use std::marker::PhantomData;
use std::time::Duration;

use diesel::dsl::Limit;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::LimitDsl;
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};
use diesel_async::methods::{ExecuteDsl, LoadQuery};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::store::StoreError;

/// A statement with the parameters `$1`, `$2`, …, and their values.
///
/// Unlike `diesel::sql_query` it is prepared once per connection, and costs one round trip after
/// that. Its text must therefore come from a small, fixed set.
pub(crate) struct Statement {
    sql: String,
    binds: Vec<Box<dyn Bind>>,
    prepared_once: bool,
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>) -> Statement {
        Statement { sql: sql.into(), binds: Vec::new(), prepared_once: true }
    }

    /// Plans the statement anew with each use, for the values at hand. For a query whose best plan
    /// depends on them: a generic plan could read the whole table.
    pub(crate) fn planned_for_its_values(mut self) -> Statement {
        self.prepared_once = false;
        self
    }

    /// Adds the value of the next parameter.
    pub(crate) fn bind<ST, T>(mut self, value: T) -> Statement
    where
        ST: 'static + Send,
        T: ToSql<ST, Pg> + Send + 'static,
        Pg: HasSqlType<ST>,
    {
        self.binds.push(Box::new(Typed::<ST, T>(value, PhantomData)));
        self
    }
}

/// These parameters, wrapped so that PostgreSQL doesn't see their arrays while it plans.
///
/// If it sees an array, it counts the elements and finds a plan for two of them cheaper than the
/// generic one. Then it plans with each use anew, which takes longer than what the statement does
/// for two elements.
pub(crate) fn unseen(values: impl IntoIterator<Item = usize>) -> String {
    let values: Vec<String> = values.into_iter().map(|n| format!("(SELECT ${n})")).collect();
    values.join(", ")
}

/// A statement whose columns have these types, in this order. Rows are read by position, which
/// takes a fraction of the time of finding each column by its name.
pub(crate) struct Columns<ST>(Statement, PhantomData<fn() -> ST>);

impl Statement {
    /// Declares the types of the columns.
    pub(crate) fn columns<ST>(self) -> Columns<ST> {
        Columns(self, PhantomData)
    }
}

impl<ST> QueryFragment<Pg> for Columns<ST> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<ST> QueryId for Columns<ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for Columns<ST> {
    type SqlType = ST;
}

trait Bind: Send {
    fn push<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

struct Typed<ST, T>(T, PhantomData<ST>);

impl<ST, T> Bind for Typed<ST, T>
where
    ST: Send,
    T: ToSql<ST, Pg> + Send,
    Pg: HasSqlType<ST>,
{
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<ST, T>(&self.0)
    }
}

impl QueryFragment<Pg> for Statement {
    /// Diesel numbers values in the order in which they are pushed, so a parameter that occurs
    /// twice is pushed twice.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.prepared_once {
            out.unsafe_to_cache_prepared();
        }
        let mut pieces = self.sql.split('$');
        out.push_sql(pieces.next().unwrap_or_default());
        for piece in pieces {
            let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, rest) = piece.split_at(digits);
            let bind = number.parse::<usize>().ok().and_then(|n| self.binds.get(n.wrapping_sub(1)));
            let bind = bind.ok_or_else(|| {
                diesel::result::Error::QueryBuilderError(format!("no value for ${number}").into())
            })?;
            bind.push(out.reborrow())?;
            out.push_sql(rest);
        }
        Ok(())
    }
}

impl QueryId for Statement {
    type QueryId = ();
    /// Statements are told apart by their text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

/// How long an answer may take. The server cancels a statement sooner (`pool::STATEMENT_TIMEOUT`),
/// so a server that is silent for this long is gone, even if the connection is not: a machine that
/// is frozen, or a network that swallows everything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs a query on a connection, like diesel-async's trait of this name, but waits at most
/// [`ANSWER_TIMEOUT`]. A connection that gave no answer fails the pool's next check.
///
/// Each method waits for the end of the answer, where diesel-async's `get_result` and `first`
/// return after the first row. The server may send rows before it commits, and a statement that is
/// its own transaction commits last of all. What comes then may be an error, or the end of a server
/// that was told to stop at once (<https://www.postgresql.org/docs/current/protocol-flow.html>,
/// `ReadyForQuery`).
pub(crate) trait RunQueryDsl: Sized {
    /// The number of rows that the statement touched.
    fn execute(
        self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<usize>> + Send
    where
        Self: ExecuteDsl<AsyncPgConnection> + Send,
    {
        async move { in_time(ExecuteDsl::execute(self, connection)).await }
    }

    /// Every row.
    fn load<'query, U>(
        self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<Vec<U>>> + Send
    where
        U: Send,
        Self: LoadQuery<'query, AsyncPgConnection, U> + Send + 'query,
    {
        async move { in_time(diesel_async::RunQueryDsl::load(self, connection)).await }
    }

    /// The one row; the first, if there are more.
    fn get_result<'query, U>(
        self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<U>> + Send
    where
        U: Send,
        Self: LoadQuery<'query, AsyncPgConnection, U> + Send + 'query,
    {
        async move { first_of(RunQueryDsl::load(self, connection).await?) }
    }

    /// The first row, asking for no more.
    fn first<'query, U>(
        self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<U>> + Send
    where
        U: Send,
        Self: LimitDsl + Send + 'query,
        Limit<Self>: LoadQuery<'query, AsyncPgConnection, U> + Send + 'query,
    {
        async move { first_of(RunQueryDsl::load(self.limit(1), connection).await?) }
    }
}

fn first_of<U>(rows: Vec<U>) -> QueryResult<U> {
    rows.into_iter().next().ok_or(Error::NotFound)
}

impl<T> RunQueryDsl for T {}

/// Runs `body` in a transaction, which is rolled back unless `body` returns `Ok`. Must be awaited
/// to its end.
///
/// # Errors
/// Those of `body`, or the database fails.
pub async fn transaction<T>(
    connection: &mut AsyncPgConnection,
    body: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    in_time(AnsiTransactionManager::begin_transaction(connection)).await?;
    let outcome = body(connection).await;
    if outcome.is_ok() {
        in_time(AnsiTransactionManager::commit_transaction(connection)).await?;
    } else {
        // If even the rollback fails, the pool drops the connection, and the transaction ends with
        // it.
        let _ = in_time(AnsiTransactionManager::rollback_transaction(connection)).await;
    }
    outcome
}

async fn in_time<T>(asked: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    tokio::time::timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| {
        let silence = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        Err(Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(silence)))
    })
}
