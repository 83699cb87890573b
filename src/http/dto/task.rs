//! Tasks.

use chrono::{DateTime, Utc};
use garde::Validate;
use paperclip::actix::Apiv2Schema;
use serde::{Deserialize, Deserializer};

use super::not_blank;
use crate::domain::field::FIRST_ID;
use crate::domain::task::rules::{DESCRIPTION, TITLE};
use crate::domain::task::{Status, Task, TaskFields};
use crate::http::extract::fields::{Fields, FromFields, Patch};
use crate::http::extract::moment::moment;
use crate::http::extract::words::Expected;

/// A task to be written: what a client decides of it. For PUT it is the whole of it.
#[derive(Debug, Clone, Default, Validate, Deserialize, Apiv2Schema)]
#[serde(rename_all = "camelCase")]
pub struct TaskInput {
    /// What is to be done; not blank.
    #[garde(length(chars, min = TITLE.min, max = TITLE.max), custom(not_blank))]
    pub title: String,
    /// More about it.
    #[garde(length(chars, max = DESCRIPTION.max))]
    pub description: Option<String>,
    /// Where the work stands.
    #[garde(skip)]
    pub status: Status,
    /// The user it is for.
    #[garde(range(min = FIRST_ID))]
    pub user_id: Option<i64>,
    /// The category it is in.
    #[garde(range(min = FIRST_ID))]
    pub category_id: Option<i64>,
    /// When it is due (RFC 3339).
    #[garde(skip)]
    pub due_at: Option<DateTime<Utc>>,
    /// Which of them were not there.
    #[openapi(skip)]
    #[serde(skip)]
    #[garde(skip)]
    pub absent: Vec<&'static str>,
}

// The OpenAPI document describes it from the rules of its fields: see `openapi`.
impl paperclip::v2::schema::Apiv2Schema for Task {
    fn name() -> Option<String> {
        Some("Task".to_owned())
    }
}

described_as_text!(Status);

/// The members that a PUT clears if they are absent.
const CLEARED: [&str; 5] = ["description", "status", "userId", "categoryId", "dueAt"];

impl FromFields for TaskInput {
    fn from_fields(fields: &mut Fields) -> TaskInput {
        let absent = CLEARED.into_iter().filter(|name| !fields.has(name)).collect();
        let input = TaskInput {
            absent,
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

/// The members that a PUT has changed because they were absent, by their names in JSON.
pub fn cleared(
    absent: &[&'static str],
    before: &TaskFields,
    after: &TaskFields,
) -> Vec<&'static str> {
    let changed = |name: &&str| match *name {
        "description" => before.description != after.description,
        "status" => before.status != after.status,
        "userId" => before.user_id != after.user_id,
        "categoryId" => before.category_id != after.category_id,
        _ => before.due_at != after.due_at,
    };
    absent.iter().copied().filter(|name| changed(name)).collect()
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
        // Only the whole has rules, so members that are not patched get a value that is valid.
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
            absent: Vec::new(),
        });
        patch
    }
}

impl TaskPatch {
    /// Applies the patch to a task's fields.
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

/// An RFC 3339 time that PostgreSQL can store and RFC 3339 can write.
#[derive(Default)]
pub struct Moment(
    /// The time.
    pub DateTime<Utc>,
);

impl Expected for Moment {
    fn expected() -> String {
        "an RFC 3339 time of the years 1 to 9999, such as 2030-01-31T12:00:00Z".to_owned()
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        moment(&text).map(Moment).ok_or_else(|| {
            serde::de::Error::custom("must be an RFC 3339 time of the years 1 to 9999")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::body::Body;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// A valid value of each member, or null.
    fn members() -> impl Strategy<Value = Map<String, Value>> {
        let text = |longest: usize| prop::collection::vec("[a-zé<\u{1f980}]", 1..longest);
        let id = || prop::option::weighted(0.7, 1_i64..);
        let time = prop::option::weighted(0.7, 0_i64..4_000_000_000_000_000);
        let status = prop::sample::select(vec!["pending", "in-progress", "completed"]);
        (text(20), prop::option::of(text(50)), status, id(), id(), time).prop_map(
            |(title, description, status, user, category, due)| {
                let due = due.and_then(DateTime::<Utc>::from_timestamp_micros);
                let whole = json!({
                    "title": title.concat(), "description": description.map(|d| d.concat()),
                    "status": status, "userId": user, "categoryId": category, "dueAt": due,
                });
                whole.as_object().unwrap().clone()
            },
        )
    }

    fn whole(members: Map<String, Value>) -> TaskFields {
        Body::<TaskInput>::of(members).unwrap().0.into()
    }

    proptest! {
        #[test]
        fn a_patch_merges_as_rfc_7396_says(
            before in members(), mut patch in members(), kept in prop::collection::vec(any::<bool>(), 6),
        ) {
            let mut kept = kept.into_iter();
            patch.retain(|_, _| kept.next().unwrap());
            // The algorithm in section 2 of the RFC, for a document without objects in it. A null
            // member of a task is the same as an absent one.
            let mut merged = before.clone();
            for (name, value) in &patch {
                if value.is_null() {
                    merged.remove(name);
                } else {
                    merged.insert(name.clone(), value.clone());
                }
            }
            let patched = Body::<TaskPatch>::of(patch).unwrap().0.apply(whole(before));
            prop_assert_eq!(patched, whole(merged));
        }
    }
}
