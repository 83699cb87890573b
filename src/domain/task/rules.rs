//! The rules of a task's fields.

use serde_json::{Value, json};

use super::Status;
use crate::domain::field::{FIRST_ID, TextRule};

/// What is to be done.
pub const TITLE: TextRule = TextRule { min: 1, max: 200, not_blank: true };
/// More about it.
pub const DESCRIPTION: TextRule = TextRule { min: 0, max: 10_000, not_blank: false };
/// What may be searched for in titles and descriptions.
pub const SEARCH: TextRule = TextRule { min: 1, max: 200, not_blank: false };

/// The names of the fields that clients decide, in JSON.
pub const DECIDED: [&str; 6] = ["title", "description", "status", "userId", "categoryId", "dueAt"];

/// A member of a task in JSON.
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it means, as a phrase.
    pub description: &'static str,
    /// Its JSON Schema, were it never null.
    pub schema: Value,
    /// Whether it may be null.
    pub nullable: bool,
}

/// Every member of a task, in order.
pub fn members() -> [Member; 11] {
    let member =
        |name, description, schema, nullable| Member { name, description, schema, nullable };
    let text = |rule: TextRule| {
        let mut schema = rule.lengths();
        schema["type"] = json!("string");
        schema
    };
    let number = || json!({ "type": "integer", "minimum": FIRST_ID });
    let time = || json!({ "type": "string", "format": "date-time" });
    let status = json!({ "type": "string", "enum": Status::ALL.map(Status::as_str) });
    [
        member("id", "Assigned by the database, ascending.", number(), false),
        member("title", "What is to be done; not blank.", text(TITLE), false),
        member("description", "More about it.", text(DESCRIPTION), true),
        member("status", "Where the work stands.", status, false),
        member("userId", "The user it is for; null once that user is deleted.", number(), true),
        member(
            "categoryId",
            "The category it is in; null once that category is deleted.",
            number(),
            true,
        ),
        member("dueAt", "When it is due.", time(), true),
        member("version", "1 at first, one more with each change.", number(), false),
        member("createdAt", "When it was written first.", time(), false),
        member("updatedAt", "When it changed last.", time(), false),
        member("completedAt", "When it became completed; null while it is not.", time(), true),
    ]
}
