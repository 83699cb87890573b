//! Builds the SQL of a list.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz};

use super::query::{Edge, IndexedFilter, NEVER_LAST, PositionKey, Sort, TaskQuery};
use crate::store::sql::Statement;

/// The end of time in PostgreSQL.
const NEVER: &str = "'infinity'::timestamptz";
/// Its beginning.
const EVER: &str = "'-infinity'::timestamptz";

/// Builds a statement piece by piece, with a numbered parameter for each value.
pub(super) struct Builder {
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
    pub(super) fn new(sql: &str) -> Builder {
        Builder { sql: sql.to_owned(), filtered: false, values: Vec::new() }
    }

    pub(super) fn filters(&mut self, query: &TaskQuery) {
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

    pub(super) fn due(&mut self, query: &TaskQuery) {
        if let Some(at) = query.due_before {
            self.compare(&format!("{NEVER_LAST} <"), Value::At(at));
        }
        if let Some(at) = query.due_after {
            self.compare(&format!("{NEVER_LAST} >"), Value::At(at));
            self.condition(&format!("{NEVER_LAST} < 'infinity'"));
        }
    }

    pub(super) fn search(&mut self, query: &TaskQuery) {
        if let Some(text) = &query.search {
            let pattern = self.value(Value::Text(containing(text)));
            self.condition(&format!("(title ILIKE {pattern} OR description ILIKE {pattern})"));
        }
    }

    pub(super) fn position(&mut self, query: &TaskQuery) {
        let Some(position) = &query.after else { return };
        let key = match &position.key {
            PositionKey::At(at) => self.value(Value::At(*at)),
            PositionKey::Never => NEVER.to_owned(),
            PositionKey::Text(text) => self.value(Value::Text(text.clone())),
        };
        let sign = if query.sort.descending { '<' } else { '>' };
        self.beyond(query.sort.key.expression(), sign, &key, position.id);
    }

    /// Keeps only the rows on one side of a position.
    fn beyond(&mut self, expression: &str, sign: char, key: &str, id: i64) {
        let id = self.value(Value::Int(id));
        self.condition(&format!("({expression}, id) {sign} ({key}, {id})"));
    }

    /// The range of an index that is asked for.
    ///
    /// The value that all its rows have in common is part of the range's ends, not a condition of
    /// its own: only the index that begins with that column has this order. The value is also
    /// hidden from the planner. If PostgreSQL knew which user it is, it would estimate the range by
    /// multiplying the rows before that user with the rows after, and would sometimes sort all
    /// tasks of the user.
    pub(super) fn stretch(&mut self, query: &TaskQuery) {
        if !query.is_stretch_of_time() {
            return self.position(query);
        }
        let key = query.sort.key.expression();
        let (begin, end) = query.ends();
        let Some(within) = query.indexed_filter() else {
            for (sign, edge) in [('>', begin), ('<', end)] {
                let Some(edge) = edge else { continue };
                let (at, id) = self.edge(edge);
                self.beyond(key, sign, &at, id);
            }
            return;
        };
        let value = self.value(match within {
            IndexedFilter::Status(name) => Value::Text(name.to_owned()),
            IndexedFilter::User(id) | IndexedFilter::Category(id) => Value::Int(id),
        });
        let begin = begin.map_or((EVER.to_owned(), i64::MIN), |edge| self.edge(edge));
        let end = end.map_or((NEVER.to_owned(), i64::MAX), |edge| self.edge(edge));
        for (sign, (at, id)) in [('>', begin), ('<', end)] {
            let (column, id) = (within.column(), self.value(Value::Int(id)));
            self.condition(&format!("({column}, {key}, id) {sign} ((SELECT {value}), {at}, {id})"));
        }
    }

    fn edge(&mut self, edge: Edge) -> (String, i64) {
        match edge {
            Edge::At(at, id) => (self.value(Value::At(at)), id),
            Edge::Never(id) => (NEVER.to_owned(), id),
        }
    }

    /// The order of such a range.
    pub(super) fn order_within(&mut self, column: Option<&str>, sort: Sort) {
        let Some(column) = column else { return self.order(sort) };
        let key = sort.key.expression();
        let direction = if sort.descending { " DESC" } else { "" };
        let order = [column, key, "id"].map(|by| format!("{by}{direction}")).join(", ");
        self.sql.push_str(&format!(" ORDER BY {order}"));
    }

    pub(super) fn order(&mut self, sort: Sort) {
        let expression = sort.key.expression();
        let direction = if sort.descending { " DESC" } else { "" };
        self.sql.push_str(&format!(" ORDER BY {expression}{direction}, id{direction}"));
    }

    pub(super) fn limit(&mut self, limit: i64) {
        let limit = self.value(Value::Int(limit));
        self.sql.push_str(&format!(" LIMIT {limit}"));
    }

    /// A limit written into the text: see [`super::LIMITS`].
    pub(super) fn fixed_limit(&mut self, limit: i64) {
        self.sql.push_str(&format!(" LIMIT {limit}"));
    }

    /// Ends a subquery: the conditions that follow belong to the outer query.
    pub(super) fn close(&mut self, sql: &str) {
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

    pub(super) fn statement(self) -> Statement {
        let statement = Statement::new(self.sql);
        self.values.into_iter().fold(statement, |statement, value| match value {
            Value::Int(i) => statement.bind::<BigInt, _>(i),
            Value::Text(t) => statement.bind::<Text, _>(t),
            Value::At(t) => statement.bind::<Timestamptz, _>(t),
        })
    }
}

/// A LIKE pattern for anything that contains `text` literally.
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
}
