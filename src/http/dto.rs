//! What goes in and out over HTTP, with the rules for what comes in.
//!
//! Bodies are read member by member; `Deserialize` is there for the names in the description.

use chrono::{DateTime, Datelike, Utc};
use garde::Validate;
use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::task::{Status, Task, TaskFields};
use crate::http::fields::{Fields, FromFields, Patch};
use crate::store::activity::Entry;
use crate::store::categories::Category;
use crate::store::users::User;

/// A task to be written: what a client decides of it. For PUT it is the whole of it.
#[derive(Debug, Clone, Default, Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct TaskInput {
    /// What is to be done; not blank.
    #[garde(length(chars, min = 1, max = 200), custom(not_blank))]
    pub title: String,
    /// More about it.
    #[garde(length(chars, max = 10_000))]
    pub description: Option<String>,
    /// Where the work stands.
    #[garde(skip)]
    pub status: Status,
    /// The user it is for.
    #[garde(range(min = 1))]
    pub user_id: Option<i64>,
    /// The category it is in.
    #[garde(range(min = 1))]
    pub category_id: Option<i64>,
    /// When it is due (RFC 3339).
    #[garde(skip)]
    pub due_at: Option<DateTime<Utc>>,
}

impl FromFields for TaskInput {
    fn from_fields(fields: &mut Fields) -> TaskInput {
        let input = TaskInput {
            title: fields.required("title"),
            description: fields.optional("description"),
            status: fields.unless_absent("status").unwrap_or_default(),
            user_id: fields.optional("userId"),
            category_id: fields.optional("categoryId"),
            due_at: fields.optional::<Moment>("dueAt").map(|m| m.0),
        };
        fields.validate(&input);
        input
    }
}

impl From<TaskInput> for TaskFields {
    fn from(input: TaskInput) -> TaskFields {
        TaskFields {
            title: input.title,
            description: input.description,
            status: input.status,
            user_id: input.user_id,
            category_id: input.category_id,
            due_at: input.due_at,
        }
    }
}

/// A change of a task, as a merge patch (RFC 7396): what is absent stays, what is null is cleared.
#[derive(Debug, Clone, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct TaskPatch {
    /// What is to be done; not blank.
    pub title: Patch<String>,
    /// More about it.
    pub description: Patch<String>,
    /// Where the work stands.
    pub status: Patch<Status>,
    /// The user it is for.
    pub user_id: Patch<i64>,
    /// The category it is in.
    pub category_id: Patch<i64>,
    /// When it is due (RFC 3339).
    pub due_at: Patch<DateTime<Utc>>,
}

impl FromFields for TaskPatch {
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn from_fields(fields: &mut Fields) -> TaskPatch {
        let set = |value: Option<_>| value.map_or(Patch::Absent, Patch::Set);
        let patch = TaskPatch {
            title: set(fields.unless_absent("title")),
            description: fields.patch("description"),
            status: fields.unless_absent("status").map_or(Patch::Absent, Patch::Set),
            user_id: fields.patch("userId"),
            category_id: fields.patch("categoryId"),
            due_at: match fields.patch::<Moment>("dueAt") {
                Patch::Absent => Patch::Absent,
                Patch::Null => Patch::Null,
                Patch::Set(moment) => Patch::Set(moment.0),
            },
        };
        // The rules are those of the whole: what is not patched counts as right.
        let right = TaskFields {
            title: "right".into(),
            description: None,
            status: Status::Pending,
            user_id: None,
            category_id: None,
            due_at: None,
        };
        let whole = patch.clone().apply(right);
        fields.validate(&TaskInput {
            title: whole.title,
            description: whole.description,
            status: whole.status,
            user_id: whole.user_id,
            category_id: whole.category_id,
            due_at: whole.due_at,
        });
        patch
    }
}

impl TaskPatch {
    /// The fields after the patch.
    pub fn apply(self, before: TaskFields) -> TaskFields {
        TaskFields {
            title: self.title.or(None).unwrap_or(before.title),
            description: self.description.or(before.description),
            status: self.status.or(None).unwrap_or(before.status),
            user_id: self.user_id.or(before.user_id),
            category_id: self.category_id.or(before.category_id),
            due_at: self.due_at.or(before.due_at),
        }
    }
}

/// A user to be made.
#[derive(Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct UserInput {
    /// Unique, whatever its case.
    #[garde(email, length(chars, max = 254), custom(mailable))]
    pub email: String,
    /// What to call them.
    #[garde(length(chars, min = 1, max = 100), inner(custom(not_blank)))]
    pub name: Option<String>,
    /// Kept as an argon2id hash only.
    #[garde(length(chars, min = 8, max = 128))]
    pub password: String,
}

impl FromFields for UserInput {
    fn from_fields(fields: &mut Fields) -> UserInput {
        let input = UserInput {
            email: fields.required("email"),
            name: fields.optional("name"),
            password: fields.required("password"),
        };
        fields.validate(&input);
        input
    }
}

/// A change of a user, as a merge patch (RFC 7396).
#[derive(Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct UserPatch {
    /// Unique, whatever its case.
    pub email: Patch<String>,
    /// What to call them.
    pub name: Patch<String>,
    /// Kept as an argon2id hash only.
    pub password: Patch<String>,
}

impl FromFields for UserPatch {
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn from_fields(fields: &mut Fields) -> UserPatch {
        let email: Option<String> = fields.unless_absent("email");
        let password: Option<String> = fields.unless_absent("password");
        let name = fields.patch("name");
        fields.validate(&UserInput {
            email: email.clone().unwrap_or_else(|| "right@example.com".into()),
            name: name.clone().or(None),
            password: password.clone().unwrap_or_else(|| "right right".into()),
        });
        UserPatch {
            email: email.map_or(Patch::Absent, Patch::Set),
            name,
            password: password.map_or(Patch::Absent, Patch::Set),
        }
    }
}

/// A category to be made, or its new state.
#[derive(Debug, Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct CategoryInput {
    /// Unique.
    #[garde(length(chars, min = 1, max = 100), custom(not_blank))]
    pub name: String,
}

impl FromFields for CategoryInput {
    fn from_fields(fields: &mut Fields) -> CategoryInput {
        let input = CategoryInput { name: fields.required("name") };
        fields.validate(&input);
        input
    }
}

/// A change of a category, as a merge patch (RFC 7396).
#[derive(Debug, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct CategoryPatch {
    /// Unique.
    pub name: Patch<String>,
}

impl FromFields for CategoryPatch {
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn from_fields(fields: &mut Fields) -> CategoryPatch {
        let name: Option<String> = fields.unless_absent("name");
        fields.validate(&CategoryInput { name: name.clone().unwrap_or_else(|| "right".into()) });
        CategoryPatch { name: name.map_or(Patch::Absent, Patch::Set) }
    }
}

/// An RFC 3339 time that PostgreSQL can keep and RFC 3339 can write again.
struct Moment(DateTime<Utc>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        moment(&text).map(Moment).ok_or_else(|| {
            serde::de::Error::custom("must be an RFC 3339 time of the years 1 to 9999")
        })
    }
}

/// Reads an RFC 3339 time of the years 1 to 9999, in UTC. A leap second becomes the second after
/// it, as PostgreSQL has it: else an answer and an event would differ from what is stored.
pub fn moment(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    let at = DateTime::from_timestamp_micros(at.timestamp_micros())?;
    storable(&at).then_some(at)
}

/// Whether PostgreSQL can keep a time and RFC 3339 can write it.
pub fn storable(at: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}

/// Mail is written by rules of its own: whoever has an address that breaks them would get none.
fn mailable(address: &str, _: &()) -> garde::Result {
    if crate::mail::is_address(address) {
        Ok(())
    } else {
        Err(garde::Error::new("no mail can be sent to this address"))
    }
}

fn not_blank(text: &str, _: &()) -> garde::Result {
    if text.is_empty() || !text.trim().is_empty() {
        Ok(())
    } else {
        Err(garde::Error::new("must not be blank"))
    }
}

/// A user. The password is in no answer.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "User")]
pub struct UserView {
    /// Assigned by the database.
    pub id: i64,
    /// Unique, whatever its case.
    pub email: String,
    /// What to call them.
    pub name: Option<String>,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

impl From<User> for UserView {
    fn from(user: User) -> UserView {
        UserView {
            id: user.id,
            email: user.email,
            name: user.name,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// A category.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Category")]
pub struct CategoryView {
    /// Assigned by the database.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// When the category was made.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

impl From<Category> for CategoryView {
    fn from(category: Category) -> CategoryView {
        CategoryView {
            id: category.id,
            name: category.name,
            created_at: category.created_at,
            updated_at: category.updated_at,
        }
    }
}

/// An entry of a task's activity log.
#[derive(Debug, Serialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
#[openapi(rename = "Activity")]
pub struct ActivityView {
    /// Assigned by the database.
    pub id: i64,
    /// The event.
    pub event_id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The task's version after it.
    pub task_version: i64,
    /// For an update, the fields that changed, each with `from` and `to`.
    pub changes: Option<Value>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When a worker wrote it down.
    pub recorded_at: DateTime<Utc>,
}

impl From<Entry> for ActivityView {
    fn from(entry: Entry) -> ActivityView {
        ActivityView {
            id: entry.id,
            event_id: Uuid::to_string(&entry.event_id),
            event_type: entry.event_type,
            task_version: entry.task_version,
            changes: entry.changes,
            occurred_at: entry.occurred_at,
            recorded_at: entry.recorded_at,
        }
    }
}

/// A page of a list.
macro_rules! page {
    ($name:ident of $item:ty, $text:literal) => {
        #[doc = $text]
        #[derive(Debug, Serialize, Apiv2Schema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The rows of this page.
            pub data: Vec<$item>,
            /// What to pass as `cursor` for the next page; null on the last.
            pub next_cursor: Option<String>,
            /// How many rows pass the filters on all pages; only with `total=true`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub total: Option<i64>,
        }
    };
}
page!(TaskPage of Task, "A page of tasks.");
page!(UserPage of UserView, "A page of users.");
page!(CategoryPage of CategoryView, "A page of categories.");
page!(ActivityPage of ActivityView, "A page of a task's activity, newest first.");
