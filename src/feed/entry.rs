//! What a reader of the feed is told of an event.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::event::Event;
use crate::store::events::changes::Change;

/// The type of an entry about what has left its reader's sight.
pub const REMOVED: &str = "removed";

/// Which events a reader is told, and how much of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    user: Option<i64>,
    types: Vec<&'static str>,
}

impl View {
    /// What concerns this user, or everything; of these types of events, or of all if there are
    /// none.
    pub fn new(user: Option<i64>, types: Vec<&'static str>) -> View {
        View { user, types }
    }

    /// The user whose alone it is.
    pub fn user(&self) -> Option<i64> {
        self.user
    }

    /// Whether it is every event.
    pub fn is_whole(&self) -> bool {
        *self == View::default()
    }

    /// What the reader is told of an event, as JSON; `None` if it is not for this reader.
    ///
    /// To a member a task that is given to somebody else is removed, and one that is given to the
    /// member comes with all its fields.
    pub fn told(&self, change: &Change) -> Option<String> {
        let payload = change.payload.as_deref().filter(|_| change.tells)?;
        if !self.types.is_empty() && !self.types.contains(&change.event_type.as_str()) {
            return None;
        }
        let Some(user) = self.user else { return whole(change) };
        if ![change.user_before, change.user_after].contains(&Some(user)) {
            return None;
        }
        let payload: Value = serde_json::from_str(payload).ok()?;
        // What is deleted belongs to nobody after that; its last state says whose it was.
        let owner = payload["userId"].as_i64().or(change.user_after);
        if owner == Some(user) {
            Some(entry(change, &change.event_type, without_changes(payload)))
        } else if change.user_before == Some(user) {
            Some(entry(change, REMOVED, Value::Null))
        } else {
            None
        }
    }
}

/// All of an event; `None` if its payload was not read.
pub(super) fn whole(change: &Change) -> Option<String> {
    let payload = serde_json::from_str(change.payload.as_deref()?).ok()?;
    Some(entry(change, &change.event_type, without_changes(payload)))
}

/// The subject as it was committed.
fn without_changes(mut payload: Value) -> Value {
    if let Some(members) = payload.as_object_mut() {
        members.remove("changes");
    }
    payload
}

fn entry(change: &Change, event_type: &str, subject: Value) -> String {
    let Change { id, kind, subject_id, version, occurred_at, .. } = change;
    let event = (*id, event_type, *occurred_at);
    members(event, (kind, *subject_id, *version), subject).to_string()
}

fn members(
    (id, event_type, occurred_at): (Uuid, &str, DateTime<Utc>),
    (kind, subject_id, version): (&str, i64, i64),
    subject: Value,
) -> Value {
    let mut members = Map::new();
    members.insert("eventId".to_owned(), json!(id));
    members.insert("type".to_owned(), json!(event_type));
    members.insert(format!("{kind}Id"), json!(subject_id));
    members.insert("version".to_owned(), json!(version));
    members.insert("occurredAt".to_owned(), json!(occurred_at));
    members.insert(kind.to_owned(), subject);
    Value::Object(members)
}

/// What a reader who sees everything is told of this event; with `removed` what one is told from
/// whose sight its subject goes.
pub fn example(event: &Event, removed: bool) -> Value {
    let (subject, metadata) = (&event.subject, &event.metadata);
    let (event_type, told) = match removed {
        true => (REMOVED, Value::Null),
        false => (event.event_type.name, without_changes(event.payload.clone())),
    };
    let about = (subject.kind, subject.id, subject.version);
    members((metadata.event_id, event_type, metadata.timestamp), about, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<i64>, after: Option<i64>, event_type: &str, owner: Value) -> Change {
        Change {
            id: Uuid::nil(),
            seq: 1,
            transaction: 1,
            event_type: event_type.to_owned(),
            kind: "task".to_owned(),
            subject_id: 7,
            version: 2,
            occurred_at: DateTime::from_timestamp(0, 0).unwrap(),
            user_before: before,
            user_after: after,
            payload: Some(json!({ "id": 7, "userId": owner, "changes": {} }).to_string()),
            tells: true,
        }
    }

    #[test]
    fn a_member_is_told_its_own_tasks_and_those_it_loses() {
        let seen = |user: i64, change: &Change| {
            let told: Value =
                serde_json::from_str(&View::new(Some(user), vec![]).told(change)?).unwrap();
            Some((told["type"].as_str().unwrap().to_owned(), told["task"].clone()))
        };
        let given = change(Some(1), Some(2), "TASK_UPDATED", json!(2));
        assert_eq!(seen(1, &given), Some((REMOVED.to_owned(), Value::Null)));
        let whole = json!({ "id": 7, "userId": 2 });
        assert_eq!(seen(2, &given), Some(("TASK_UPDATED".to_owned(), whole)));
        assert_eq!(seen(3, &given), None);
        let dropped = change(Some(1), None, "TASK_UPDATED", Value::Null);
        assert_eq!(seen(1, &dropped), Some((REMOVED.to_owned(), Value::Null)));
        let deleted = change(Some(1), None, "TASK_DELETED", json!(1));
        assert_eq!(seen(1, &deleted).unwrap().0, "TASK_DELETED");
        assert_eq!(seen(2, &deleted), None);
    }

    #[test]
    fn an_entry_says_which_event_it_is_and_of_what() {
        let told = View::default().told(&change(None, Some(1), "TASK_CREATED", json!(1))).unwrap();
        let expected = json!({
            "eventId": Uuid::nil(), "type": "TASK_CREATED", "taskId": 7, "version": 2,
            "occurredAt": "1970-01-01T00:00:00Z", "task": { "id": 7, "userId": 1 },
        });
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), expected);
        let types = View::new(None, vec!["TASK_DELETED"]);
        let created = change(None, Some(1), "TASK_CREATED", json!(1));
        assert_eq!(types.told(&created), None);
        let quiet = Change { tells: false, ..created };
        assert_eq!(View::default().told(&quiet), None);
    }
}
