//! The spans of statements that write events, by the conventions for databases
//! (<https://opentelemetry.io/docs/specs/semconv/db/postgresql/>). They have the operation and the
//! table, and neither the statement nor its parameters.

use std::collections::BTreeSet;

use diesel::result::{Error, QueryResult};

use crate::domain::event::NewEvent;
use crate::ground::traces::{self, Span, SpanKind, names};

/// The spans of one statement: one below each request whose events it writes.
#[must_use = "the spans last until the statement has ended"]
pub(in crate::store) struct StatementSpans(Vec<Span>);

/// Begins the spans of a statement, which is known by its summary: operation and table.
pub(in crate::store) fn writing<'a>(
    summary: &'static str,
    events: impl IntoIterator<Item = &'a NewEvent>,
) -> StatementSpans {
    if !traces::on() {
        return StatementSpans(Vec::new());
    }
    let events: Vec<&NewEvent> = events.into_iter().collect();
    let (operation, table) = summary.split_once(' ').unwrap_or((summary, ""));
    // A deletion of a user changes many tasks in one request.
    let parents: BTreeSet<&str> =
        events.iter().filter_map(|event| event.origin.traceparent()).collect();
    let spans = parents.into_iter().filter_map(traces::parse).map(|parent| {
        let mut span = Span::below(&parent, SpanKind::Client, summary);
        span.set(names::DB_SYSTEM_NAME, "postgresql");
        span.set(names::DB_QUERY_SUMMARY, summary);
        span.set(names::DB_OPERATION_NAME, operation);
        span.set(names::DB_COLLECTION_NAME, table);
        if events.len() > 1 {
            span.set(names::DB_OPERATION_BATCH_SIZE, events.len() as i64);
        }
        span
    });
    StatementSpans(spans.filter(Span::is_kept).collect())
}

impl StatementSpans {
    /// Ends them with what became of the statement, which is returned.
    pub(in crate::store) fn end<T>(self, outcome: QueryResult<T>) -> QueryResult<T> {
        if let Err(error) = &outcome {
            // The texts of an error may quote values.
            let kind = match error {
                Error::DatabaseError(kind, _) => format!("{kind:?}"),
                _ => "other".to_owned(),
            };
            for mut span in self.0 {
                span.fail(kind.clone(), "");
            }
        }
        outcome
    }
}
