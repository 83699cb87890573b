//! SQL that diesel's query builder has no words for: statements that write two tables at once,
//! or many rows from arrays.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};

/// A statement with `$1`, `$2`, … in it, and their values.
///
/// Unlike `diesel::sql_query` it is prepared once a connection and costs one round trip after.
/// Its text must therefore come from a small, fixed set.
pub(crate) struct Statement {
    sql: String,
    binds: Vec<Box<dyn Bind>>,
    prepared_once: bool,
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>) -> Statement {
        Statement { sql: sql.into(), binds: Vec::new(), prepared_once: true }
    }

    /// Plans the statement anew with each use, for the values at hand: for a query whose best
    /// plan depends on them, where a plan for any values could read the whole table.
    pub(crate) fn planned_for_its_values(mut self) -> Statement {
        self.prepared_once = false;
        self
    }

    /// Adds the next value.
    pub(crate) fn bind<ST, T>(mut self, value: T) -> Statement
    where
        ST: 'static + Send,
        T: ToSql<ST, Pg> + Send + 'static,
        Pg: HasSqlType<ST>,
    {
        self.binds.push(Box::new(Typed::<ST, T>(value, std::marker::PhantomData)));
        self
    }
}

trait Bind: Send {
    fn push<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

struct Typed<ST, T>(T, std::marker::PhantomData<ST>);

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
    /// Diesel numbers values in the order they are pushed, so one that is named twice is pushed twice.
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
    /// The text tells statements apart.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

impl<Conn> diesel::query_dsl::RunQueryDsl<Conn> for Statement {}
