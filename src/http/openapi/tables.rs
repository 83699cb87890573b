//! The rules of members and parameters. A test compares these tables with the rules that requests
//! are validated by.

use serde_json::{Value, json};

use crate::domain::event::EventType;
use crate::domain::task::Status;
use crate::domain::user::Role;
use crate::store::task_list::Sort;

/// PostgreSQL texts can't have a NUL character, so the API's can't either.
pub const NO_NUL: &str = r"^[^\u0000]*$";
/// The same for a text that must not be blank.
pub const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";

/// Members of request bodies: schema, member and its rules.
pub fn body_rules() -> Vec<(&'static str, &'static str, Value)> {
    let title =
        json!({ "minLength": 1, "maxLength": 200, "pattern": NOT_BLANK, "example": "Write Docs" });
    let description = json!({ "maxLength": 10_000, "pattern": NO_NUL, "nullable": true, "example": "Testing async" });
    let id = json!({ "minimum": 1, "nullable": true, "example": 1 });
    // There need not be any category, so no example names one.
    let category = json!({ "minimum": 1, "nullable": true, "example": null });
    let due = json!({ "format": "date-time", "nullable": true, "example": "2030-01-31T12:00:00Z" });
    let email = json!({ "format": "email", "maxLength": 254, "example": "ada@example.com" });
    let user_name = json!({ "minLength": 1, "maxLength": 100, "pattern": NOT_BLANK, "nullable": true, "example": "Ada" });
    let password = json!({ "minLength": 8, "maxLength": 128, "pattern": NO_NUL, "format": "password", "writeOnly": true, "example": "correct horse" });
    let current_password = json!({ "minLength": 1, "maxLength": 128, "pattern": NO_NUL, "format": "password", "writeOnly": true, "example": "correct horse" });
    let name = json!({ "minLength": 1, "maxLength": 100, "pattern": NOT_BLANK, "example": "Documentation" });
    let token_name = json!({ "minLength": 1, "maxLength": 100, "pattern": NOT_BLANK, "example": "nightly report" });
    let role =
        json!({ "type": "string", "enum": Role::ALL.map(Role::as_str), "example": "member" });
    let mut input_role = role.clone();
    input_role["default"] = json!(Role::default().as_str());
    let statuses = Status::ALL.map(Status::as_str);
    let status = json!({ "type": "string", "enum": statuses, "example": "in-progress" });
    let mut input_status = status.clone();
    input_status["default"] = json!(Status::default().as_str());
    vec![
        ("TaskInput", "title", title.clone()),
        ("TaskInput", "description", description.clone()),
        ("TaskInput", "status", input_status),
        ("TaskInput", "userId", id.clone()),
        ("TaskInput", "categoryId", category.clone()),
        ("TaskInput", "dueAt", due.clone()),
        ("TaskPatch", "title", title),
        ("TaskPatch", "description", description),
        ("TaskPatch", "status", status),
        ("TaskPatch", "userId", id),
        ("TaskPatch", "categoryId", category),
        ("TaskPatch", "dueAt", due),
        ("UserInput", "email", email.clone()),
        ("UserInput", "name", user_name.clone()),
        ("UserInput", "password", password.clone()),
        ("UserPatch", "email", email),
        ("UserPatch", "name", user_name),
        ("UserPatch", "password", password),
        ("UserPatch", "currentPassword", current_password.clone()),
        (
            "UserPatch",
            "keepTokens",
            json!({ "type": "boolean", "default": false, "example": false }),
        ),
        ("UserInput", "role", input_role),
        ("UserPatch", "role", role),
        ("CategoryInput", "name", name.clone()),
        ("CategoryPatch", "name", name),
        (
            "SessionInput",
            "email",
            json!({ "minLength": 1, "maxLength": 254, "example": "ada@example.com" }),
        ),
        ("SessionInput", "password", current_password),
        ("TokenInput", "name", token_name),
        (
            "TokenInput",
            "expiresAt",
            json!({ "format": "date-time", "nullable": true, "example": null }),
        ),
    ]
}

/// Which members a request body must have.
pub(super) const REQUIRED: [(&str, &[&str]); 8] = [
    ("SessionInput", &["email", "password"]),
    ("TokenInput", &["name"]),
    ("TaskInput", &["title"]),
    ("TaskPatch", &[]),
    ("UserInput", &["email", "password"]),
    ("UserPatch", &[]),
    ("CategoryInput", &["name"]),
    ("CategoryPatch", &[]),
];

/// Pages, and the schemas of their rows.
pub(super) const PAGES: [(&str, &str); 7] = [
    ("TaskPage", "Task"),
    ("UserPage", "User"),
    ("CategoryPage", "Category"),
    ("ActivityPage", "Activity"),
    ("TokenPage", "Token"),
    ("SessionPage", "OpenSession"),
    ("EventPage", "Event"),
];

/// Other members that are lists, and the schemas of their items.
pub(super) const LISTS: [(&str, &str, &str); 1] = [("EventDetail", "effects", "Effect")];

/// Schemas of responses that are not rows of a page.
pub(super) const ALONE: [&str; 4] = ["Session", "NewToken", "EventDetail", "Effect"];

/// Members of responses that may be null. Every member is always present except `total`.
pub(super) const NULLABLE: [(&str, &str); 25] = [
    ("Event", "publishedAt"),
    ("EventDetail", "publishedAt"),
    ("EventPage", "nextCursor"),
    ("Effect", "target"),
    ("Effect", "note"),
    ("Effect", "claimedBy"),
    ("Effect", "claimedUntil"),
    ("Token", "expiresAt"),
    ("Token", "lastUsedAt"),
    ("NewToken", "expiresAt"),
    ("TokenPage", "nextCursor"),
    ("SessionPage", "nextCursor"),
    ("OpenSession", "expiresAt"),
    ("OpenSession", "lastUsedAt"),
    ("Task", "description"),
    ("Task", "userId"),
    ("Task", "categoryId"),
    ("Task", "dueAt"),
    ("Task", "completedAt"),
    ("User", "name"),
    ("Activity", "changes"),
    ("TaskPage", "nextCursor"),
    ("UserPage", "nextCursor"),
    ("CategoryPage", "nextCursor"),
    ("ActivityPage", "nextCursor"),
];

/// Query parameters of lists and of `GET /tasks`, by name.
pub fn parameter_rules() -> Vec<(&'static str, Value)> {
    let id = json!({ "type": "integer", "format": "int64", "minimum": 1 });
    let time = json!({ "type": "string", "format": "date-time" });
    let sorts: Vec<&str> = Sort::all().map(Sort::name).collect();
    vec![
        ("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 })),
        ("cursor", json!({ "type": "string", "minLength": 1, "maxLength": 4096 })),
        ("total", json!({ "type": "boolean", "default": false })),
        ("status", json!({ "type": "string", "enum": Status::ALL.map(Status::as_str) })),
        ("userId", id.clone()),
        ("categoryId", id),
        (
            "search",
            json!({ "type": "string", "minLength": 1, "maxLength": 200, "pattern": NO_NUL }),
        ),
        ("dueBefore", time.clone()),
        ("dueAfter", time),
        ("sort", json!({ "type": "string", "enum": sorts, "default": "-createdAt" })),
    ]
}

/// The query parameters that only `GET /events` has.
pub fn event_parameter_rules() -> Vec<(&'static str, Value)> {
    let types = EventType::ALL.map(EventType::as_str);
    vec![
        ("taskId", json!({ "type": "integer", "format": "int64", "minimum": 1 })),
        ("type", json!({ "type": "string", "enum": types })),
        ("published", json!({ "type": "boolean" })),
    ]
}
