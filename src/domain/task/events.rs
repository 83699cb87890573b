//! What happens to tasks, as events.

use chrono::{DateTime, TimeDelta};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::rules::{DECIDED, Member, members};
use super::{Status, Task, TaskFields};
use crate::domain::event::{Actor, Event, EventType, NewEvent, Origin, Owners, Subject};

/// The kind of subject that a task is.
pub const KIND: &str = "task";

/// A task was created.
pub const CREATED: EventType = EventType {
    name: "TASK_CREATED",
    kind: KIND,
    description: "A task was created.",
    payload: whole,
    example: || created(&example(), Origin::of(Actor::SYSTEM)).payload,
    readable,
};

/// A task changed.
pub const UPDATED: EventType = EventType {
    name: "TASK_UPDATED",
    kind: KIND,
    description: "A task changed; `changes` names the fields that differ.",
    payload: whole_with_changes,
    example: || updated(&example(), &example_completed(), Origin::of(Actor::SYSTEM)).payload,
    readable,
};

/// A task was deleted.
pub const DELETED: EventType = EventType {
    name: "TASK_DELETED",
    kind: KIND,
    description: "A task was deleted; the payload is its last state, under a version of its own.",
    payload: whole,
    example: || {
        let last = example_completed();
        deleted(&last.delete(last.updated_at), Origin::of(Actor::SYSTEM)).payload
    },
    readable,
};

/// The event of a new task.
pub fn created(task: &Task, origin: Origin) -> NewEvent {
    let owners = Owners { before: None, after: task.user_id };
    event(CREATED, task, json!(task), origin, owners)
}

/// The event of a change from `before` to `task`. Its payload also has the changes: see
/// [`Task::changes_since`].
pub fn updated(before: &Task, task: &Task, origin: Origin) -> NewEvent {
    let mut payload = json!(task);
    payload["changes"] = Value::Object(task.changes_since(before));
    let owners = Owners { before: before.user_id, after: task.user_id };
    event(UPDATED, task, payload, origin, owners)
}

/// The event of a deletion; `task` comes from [`Task::delete`].
pub fn deleted(task: &Task, origin: Origin) -> NewEvent {
    let owners = Owners { before: task.user_id, after: None };
    event(DELETED, task, json!(task), origin, owners)
}

fn event(
    event_type: EventType,
    task: &Task,
    payload: Value,
    origin: Origin,
    owners: Owners,
) -> NewEvent {
    let subject = Subject { kind: KIND, id: task.id, version: task.version };
    NewEvent::new(event_type, subject, payload, task.updated_at, origin, owners)
}

/// When the task of the examples was written: 2 January 2026, 09:30 UTC.
const EXAMPLE_AT: i64 = 1_767_346_200;

/// The task of the examples.
fn example() -> Task {
    let fields = TaskFields {
        title: "Write Docs".to_owned(),
        description: Some("The first page is enough.".to_owned()),
        status: Status::Pending,
        user_id: Some(1),
        category_id: None,
        due_at: None,
    };
    let at = DateTime::from_timestamp(EXAMPLE_AT, 0).unwrap_or_default();
    Task { id: 7, ..Task::create(fields, at) }
}

/// The same, completed an hour later.
fn example_completed() -> Task {
    let before = example();
    let fields = TaskFields { status: Status::Completed, ..before.fields() };
    before.update(fields, before.updated_at + TimeDelta::hours(1)).unwrap_or(before)
}

impl Subject {
    /// The id of the task, if the subject is one.
    pub fn task_id(&self) -> Option<i64> {
        (self.kind == KIND).then_some(self.id)
    }
}

impl Event {
    /// The task as it was committed with the event; `None` if the event is not about a task.
    pub fn task(&self) -> Option<Task> {
        // What can't be read has not become an event.
        (self.subject.kind == KIND).then(|| Task::deserialize(&self.payload).ok()).flatten()
    }

    /// The user that the event's task is for.
    pub fn task_user(&self) -> Option<i64> {
        (self.subject.kind == KIND).then(|| self.payload["userId"].as_i64()).flatten()
    }
}

fn readable(payload: &Value) -> Result<(), String> {
    Task::deserialize(payload).map(drop).map_err(|error| format!("/payload: {error}"))
}

/// The schema of a task in a payload.
fn whole() -> Value {
    let members = members();
    let required = members.each_ref().map(|member| member.name);
    let schema = |member: Member| {
        let mut schema = member.schema;
        if member.nullable {
            schema["type"] = json!([schema["type"], "null"]);
        }
        schema["description"] = json!(member.description);
        (member.name.to_owned(), schema)
    };
    json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": Map::from_iter(members.map(schema)),
    })
}

/// The same with what changed.
fn whole_with_changes() -> Value {
    let mut schema = whole();
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(json!("changes"));
    }
    schema["properties"]["changes"] = json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "enum": DECIDED },
        "additionalProperties": {
            "type": "object",
            "required": ["from", "to"],
            "additionalProperties": false,
            "properties": { "from": {}, "to": {} },
        },
    });
    schema
}
