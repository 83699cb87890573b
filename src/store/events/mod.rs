//! Events for operators: which there are, and what became of each.

pub mod changes;
mod effects;
pub mod mails;
pub mod setbacks;
pub mod unfinished;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::Value;
use uuid::{NoContext, Timestamp, Uuid};

use crate::domain::event::{EventType, Origin};
use crate::domain::processing::state::EventState;
use crate::store::StoreError;
use crate::store::delivery::new_events;
use crate::store::sql::{RunQueryDsl, Statement};
pub use effects::{EffectState, effects};
use unfinished::{MARK, finished};

/// Which events are wanted; a field that is `None` filters nothing.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only events of this task.
    pub task_id: Option<i64>,
    /// Only events of this type.
    pub event_type: Option<EventType>,
    /// Only events that the broker has confirmed, or only those that it hasn't.
    pub published: Option<bool>,
    /// Only events in this state.
    pub state: Option<EventState>,
    /// Only events that have occurred since then.
    pub since: Option<DateTime<Utc>>,
}

/// An event without its payload.
#[derive(Debug, Clone, QueryableByName)]
pub struct EventSummary {
    /// Its id, which begins with the time it was made.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The event type's name.
    #[diesel(sql_type = Text, column_name = "type")]
    pub event_type: String,
    /// The kind of its subject.
    #[diesel(sql_type = Text)]
    pub subject_kind: String,
    /// The subject's id.
    #[diesel(sql_type = BigInt)]
    pub subject_id: i64,
    /// The subject's version after the change.
    #[diesel(sql_type = BigInt)]
    pub subject_version: i64,
    #[diesel(sql_type = Nullable<Text>)]
    actor_kind: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    actor_id: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    causation_id: Option<Uuid>,
    /// When the change was made.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    /// When it was marked as confirmed by the broker.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub published_at: Option<DateTime<Utc>>,
    /// The id of the request that made the change.
    #[diesel(sql_type = Nullable<Text>)]
    pub request_id: Option<String>,
    /// The trace context of that request.
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
    /// The name of its [`EventState`].
    #[diesel(sql_type = Text)]
    pub state: String,
}

impl EventSummary {
    /// Who made the change and why; `None` if a version of taskd wrote it that did not record it.
    pub fn origin(&self) -> Option<Origin> {
        new_events::origin(self.actor_kind.as_deref(), self.actor_id, self.causation_id)
    }
}

/// The columns of an [`EventSummary`] of the event `e`.
fn columns() -> String {
    format!(
        "e.id, e.type, e.subject_kind, e.task_id AS subject_id, e.task_version AS subject_version,
         e.actor_kind, e.actor_id, e.causation_id, e.occurred_at, e.published_at, e.request_id,
         e.traceparent, {} AS state",
        state()
    )
}

/// The state of the event `e`. What the list of unfinished events doesn't have, and has been looked
/// at, is done.
fn state() -> String {
    format!(
        "(SELECT CASE WHEN {} THEN 'done'
                     WHEN u.state <> 'queued' THEN u.state
                     WHEN e.published_at IS NULL THEN 'unpublished'
                     WHEN u.state IS NOT NULL OR e.seq > {MARK} THEN 'queued'
                     ELSE 'done' END
          FROM (SELECT 1) AS one LEFT JOIN unfinished_events u ON u.event_id = e.id)",
        finished("e.id")
    )
}

/// Planned for its values: a condition whose parameter is null disappears, so each filter finds its
/// index. An id begins with the time at which it was made.
const FILTERS: &str =
    "($1 IS NULL OR e.task_id = $1 AND e.subject_kind = 'task') AND ($2 IS NULL OR e.type = $2)
     AND ($3 IS NULL OR (e.published_at IS NOT NULL) = $3)
     AND ($4 IS NULL OR e.occurred_at >= $4 AND e.id >= $5) AND e.subject_kind <> 'canary'";

/// The events in one state, as a condition on `e` and, where that is few of many, the list to start
/// from.
fn in_state(query: &EventQuery) -> (String, Option<&'static str>) {
    let Some(wanted) = query.state else { return (String::new(), None) };
    let condition = format!(" AND {} = '{}'", state(), wanted.as_str());
    // The events of a task are few.
    let listed = query.task_id.is_none().then_some(wanted.as_str());
    match wanted {
        EventState::Unpublished => (format!("{condition} AND e.published_at IS NULL"), None),
        EventState::Done => (condition, None),
        EventState::Queued | EventState::Retrying | EventState::Parked | EventState::Dead => {
            (condition, listed)
        }
    }
}

/// The events that came after the list was last brought up to date: few. Without an upper bound and
/// a fence, PostgreSQL takes them for a third of all, and reads all, newest first, to find some.
fn not_looked_at() -> String {
    format!(
        "(SELECT * FROM events WHERE seq > {MARK} AND seq <= (SELECT last_value FROM events_seq_seq)
          OFFSET 0) AS e"
    )
}

/// Leaves out what the list has.
const NOT_LISTED: &str =
    " AND NOT EXISTS (SELECT FROM unfinished_events u WHERE u.event_id = e.id)";

/// The events before `before`, newest first.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    query: &EventQuery,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<EventSummary>, StoreError> {
    let columns = columns();
    let (condition, listed) = in_state(query);
    let rows = |from: &str, and: &str| {
        format!(
            "(SELECT {columns} FROM {from} WHERE {FILTERS}{condition}{and} AND e.id < $6
              ORDER BY e.id DESC LIMIT $7)"
        )
    };
    let sql = match listed {
        None => rows("events e", ""),
        Some(name) => {
            // The order of the list is the order of the rows, so it is read only as far as needed.
            let listed = format!(
                "(SELECT {columns}
                  FROM (SELECT event_id FROM unfinished_events WHERE state = '{name}' AND event_id < $6
                        ORDER BY event_id DESC OFFSET 0) AS listed
                  CROSS JOIN LATERAL (SELECT * FROM events WHERE id = listed.event_id OFFSET 0) AS e
                  WHERE {FILTERS}{condition}
                  ORDER BY listed.event_id DESC LIMIT $7)"
            );
            match query.state {
                Some(EventState::Queued) => {
                    let new = rows(&not_looked_at(), NOT_LISTED);
                    format!(
                        "SELECT * FROM ({listed} UNION ALL {new}) AS e ORDER BY id DESC LIMIT $7"
                    )
                }
                _ => listed,
            }
        }
    };
    let statement = filtered(sql, query)
        .bind::<SqlUuid, _>(before.unwrap_or(Uuid::max()))
        .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// How many events pass the filters.
///
/// # Errors
/// The database fails.
pub async fn count(
    connection: &mut AsyncPgConnection,
    query: &EventQuery,
) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Total {
        #[diesel(sql_type = BigInt)]
        total: i64,
    }
    let (condition, listed) = in_state(query);
    let among = |from: &str, and: &str| {
        format!("(SELECT count(*) FROM {from} WHERE {FILTERS}{and}{condition})")
    };
    let total = match listed {
        None => among("events e", ""),
        Some(name) => {
            let listed = format!(
                "(SELECT event_id FROM unfinished_events WHERE state = '{name}' OFFSET 0) AS listed
                 JOIN events e ON e.id = listed.event_id"
            );
            let listed = among(&listed, "");
            match query.state {
                Some(EventState::Queued) => {
                    format!("{listed} + {}", among(&not_looked_at(), NOT_LISTED))
                }
                _ => listed,
            }
        }
    };
    let sql = format!("SELECT {total} AS total");
    let total: Total = filtered(sql, query).get_result(connection).await?;
    Ok(total.total)
}

fn filtered(sql: String, query: &EventQuery) -> Statement {
    Statement::new(sql)
        .planned_for_its_values()
        .bind::<Nullable<BigInt>, _>(query.task_id)
        .bind::<Nullable<Text>, _>(query.event_type.map(|event_type| event_type.name))
        .bind::<Nullable<Bool>, _>(query.published)
        .bind::<Nullable<Timestamptz>, _>(query.since)
        .bind::<Nullable<SqlUuid>, _>(query.since.map(first_id))
}

/// The first id that an event can have that occurred at this time or later. Its id may have been
/// made a little before.
fn first_id(since: DateTime<Utc>) -> Uuid {
    let earliest = since - chrono::TimeDelta::minutes(1);
    let seconds = u64::try_from(earliest.timestamp()).unwrap_or_default();
    let made = Timestamp::from_unix(NoContext, seconds, 0);
    // The time alone, without what tells ids of one moment apart.
    let mut bytes = *Uuid::new_v7(made).as_bytes();
    bytes[6..].fill(0);
    Uuid::from_bytes(bytes)
}

/// An event with its payload.
#[derive(Debug, QueryableByName)]
pub struct EventDetail {
    /// The event without its payload.
    #[diesel(embed)]
    pub listed: EventSummary,
    /// The subject as it was then, and what changed.
    #[diesel(sql_type = Jsonb)]
    pub payload: Value,
}

/// Finds one event.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<EventDetail>, StoreError> {
    let statement = Statement::new(format!(
        "SELECT {}, e.payload FROM events e WHERE e.id = $1 AND e.subject_kind <> 'canary'",
        columns()
    ))
    .bind::<SqlUuid, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}
