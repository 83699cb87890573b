//! Orders about events: what `taskd events` asks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::catalog;
use crate::domain::processing::state::EventState;
use crate::http::dto::{EventDetailView, EventView};
use crate::operate::{OrderError, story};
use crate::store::Connection;
use crate::store::events::{self, EventQuery};

/// Which events to list, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventListOrder {
    /// Only events in this state.
    pub state: Option<String>,
    /// Only events of this task.
    pub task_id: Option<i64>,
    /// Only events of this type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Only events that have occurred since then.
    pub since: Option<DateTime<Utc>>,
    /// How many at most.
    pub limit: u32,
}

/// Lists events.
///
/// # Errors
/// There is no such state or type, or the database fails.
pub async fn list(
    connection: &mut Connection,
    order: &EventListOrder,
) -> Result<Vec<EventView>, OrderError> {
    let invalid = |field, name: &str, all: Vec<&str>| OrderError::Invalid {
        field,
        problem: format!("{name:?} is not one of {}", all.join(", ")),
    };
    let state = match order.state.as_deref() {
        Some(name) => Some(EventState::from_name(name).ok_or_else(|| {
            invalid("state", name, EventState::ALL.map(EventState::as_str).to_vec())
        })?),
        None => None,
    };
    let types = catalog::built_in();
    let event_type = match order.event_type.as_deref() {
        Some(name) => Some(types.find(name).ok_or_else(|| {
            invalid("type", name, types.iter().map(|known| known.name).collect())
        })?),
        None => None,
    };
    let query = EventQuery {
        task_id: order.task_id,
        event_type,
        published: None,
        state,
        since: order.since,
    };
    let found = events::list(connection, &query, None, order.limit.into()).await?;
    Ok(found.into_iter().map(EventView::from).collect())
}

/// Tells the story of an event.
///
/// # Errors
/// There is no such event, or the database fails.
pub async fn show(connection: &mut Connection, id: Uuid) -> Result<EventDetailView, OrderError> {
    let found = story::story(connection, id).await?;
    found.map(EventDetailView::of).ok_or_else(|| OrderError::Missing(format!("event {id}")))
}
