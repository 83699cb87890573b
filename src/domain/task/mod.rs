//! A task, and how writes change it.

pub mod events;
pub mod rules;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::moment;

/// A task as it stands in the database, in answers and in events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Assigned by the database, ascending.
    pub id: i64,
    /// What is to be done: see [`rules::TITLE`].
    pub title: String,
    /// More about it: see [`rules::DESCRIPTION`].
    pub description: Option<String>,
    /// Where the work stands.
    pub status: Status,
    /// The user it is for; null once that user is deleted.
    pub user_id: Option<i64>,
    /// The category it is in; null once that category is deleted.
    pub category_id: Option<i64>,
    /// When it is due.
    #[serde(serialize_with = "moment::serialize_option")]
    pub due_at: Option<DateTime<Utc>>,
    /// 1 at first, one more with each change.
    pub version: i64,
    /// When it was written first.
    #[serde(serialize_with = "moment::serialize")]
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    #[serde(serialize_with = "moment::serialize")]
    pub updated_at: DateTime<Utc>,
    /// When it became completed; null while it is not.
    #[serde(serialize_with = "moment::serialize_option")]
    pub completed_at: Option<DateTime<Utc>>,
}

/// Where the work on a task stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody has begun.
    #[default]
    Pending,
    /// Somebody is at it.
    InProgress,
    /// Done.
    Completed,
}

impl Status {
    /// Every status, in the order in which a task usually goes through them.
    pub const ALL: [Status; 3] = [Status::Pending, Status::InProgress, Status::Completed];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::InProgress => "in-progress",
            Status::Completed => "completed",
        }
    }

    /// The status with this name.
    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|s| s.as_str() == name)
    }
}

/// The fields of a task that clients decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFields {
    /// See [`Task::title`].
    pub title: String,
    /// See [`Task::description`].
    pub description: Option<String>,
    /// See [`Task::status`].
    pub status: Status,
    /// See [`Task::user_id`].
    pub user_id: Option<i64>,
    /// See [`Task::category_id`].
    pub category_id: Option<i64>,
    /// See [`Task::due_at`].
    pub due_at: Option<DateTime<Utc>>,
}

impl Task {
    /// A new task. The database assigns its id later.
    pub fn create(fields: TaskFields, now: DateTime<Utc>) -> Task {
        let now = stored(now);
        Task {
            id: 0,
            title: fields.title,
            description: fields.description,
            completed_at: (fields.status == Status::Completed).then_some(now),
            status: fields.status,
            user_id: fields.user_id,
            category_id: fields.category_id,
            due_at: fields.due_at.map(stored),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The fields that clients decide, with their current values.
    pub fn fields(&self) -> TaskFields {
        TaskFields {
            title: self.title.clone(),
            description: self.description.clone(),
            status: self.status,
            user_id: self.user_id,
            category_id: self.category_id,
            due_at: self.due_at,
        }
    }

    /// The next version with these fields, or `None` if nothing would change.
    pub fn update(&self, fields: TaskFields, now: DateTime<Utc>) -> Option<Task> {
        let next = Task {
            title: fields.title,
            description: fields.description,
            status: fields.status,
            user_id: fields.user_id,
            category_id: fields.category_id,
            due_at: fields.due_at.map(stored),
            ..self.clone()
        };
        if next == *self {
            return None;
        }
        // Another instance's clock may be ahead: time never runs backwards in one task.
        let now = stored(now).max(self.updated_at);
        let completed_at = match (next.status == Status::Completed, self.completed_at) {
            (true, Some(since)) => Some(since),
            (true, None) => Some(now),
            (false, _) => None,
        };
        Some(Task { version: self.version + 1, updated_at: now, completed_at, ..next })
    }

    /// The task in the event of its deletion: the last state, under a version of its own.
    pub fn delete(&self, now: DateTime<Utc>) -> Task {
        Task {
            version: self.version + 1,
            updated_at: stored(now).max(self.updated_at),
            ..self.clone()
        }
    }

    /// The client-decided fields that differ from `before`, as `{"field": {"from": …, "to": …}}`.
    pub fn changes_since(&self, before: &Task) -> Map<String, Value> {
        let pairs = [
            ("title", json!(before.title), json!(self.title)),
            ("description", json!(before.description), json!(self.description)),
            ("status", json!(before.status), json!(self.status)),
            ("userId", json!(before.user_id), json!(self.user_id)),
            ("categoryId", json!(before.category_id), json!(self.category_id)),
            ("dueAt", json!(before.due_at), json!(self.due_at)),
        ];
        pairs
            .into_iter()
            .filter(|(_, from, to)| from != to)
            .map(|(name, from, to)| (name.to_owned(), json!({ "from": from, "to": to })))
            .collect()
    }
}

/// PostgreSQL keeps microseconds. A time is cut to them, so that what is answered is what will be
/// read back.
fn stored(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn fields() -> TaskFields {
        TaskFields {
            title: "Write Docs".into(),
            description: None,
            status: Status::Pending,
            user_id: Some(1),
            category_id: None,
            due_at: None,
        }
    }

    #[test]
    fn an_update_that_changes_nothing_is_none() {
        let task = Task::create(fields(), Utc::now());
        assert_eq!(task.update(task.fields(), Utc::now()), None);
    }

    #[test]
    fn completed_at_follows_the_status() {
        let now = Utc::now();
        let task = Task::create(fields(), now);
        let done = task
            .update(
                TaskFields { status: Status::Completed, ..fields() },
                now + TimeDelta::seconds(1),
            )
            .unwrap();
        assert_eq!(done.completed_at, Some(done.updated_at));
        let renamed = done
            .update(TaskFields { title: "x".into(), ..done.fields() }, now + TimeDelta::seconds(2))
            .unwrap();
        assert_eq!(renamed.completed_at, done.completed_at);
        let reopened = renamed.update(fields(), now + TimeDelta::seconds(3)).unwrap();
        assert_eq!(reopened.completed_at, None);
        assert_eq!(reopened.version, 4);
    }

    #[test]
    fn time_never_runs_backwards_in_a_task() {
        let now = Utc::now();
        let task = Task::create(fields(), now);
        let later = task
            .update(TaskFields { title: "x".into(), ..fields() }, now - TimeDelta::hours(1))
            .unwrap();
        assert_eq!(later.updated_at, task.updated_at);
    }

    #[test]
    fn changes_name_the_fields_that_differ_and_no_other() {
        let task = Task::create(fields(), Utc::now());
        let next = task
            .update(TaskFields { title: "x".into(), user_id: None, ..fields() }, Utc::now())
            .unwrap();
        let changes = next.changes_since(&task);
        assert_eq!(
            Value::Object(changes),
            json!({ "title": { "from": "Write Docs", "to": "x" }, "userId": { "from": 1, "to": null } })
        );
    }
}
