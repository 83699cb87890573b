//! The rules of members and parameters. A test compares these tables with the rules that requests
//! are validated by.

use serde_json::{Value, json};

use crate::domain::catalog;
use crate::domain::field::{CATEGORY_NAME, FIRST_ID};
use crate::domain::processing::state::EventState;
use crate::domain::task::{Status, rules};
use crate::domain::user::{self, Role};
use crate::http::extract::cursor::CURSOR_BYTES;
use crate::http::extract::paging;
use crate::store::task_list::Sort;

/// A rule, and what else the document says of the member.
fn with(mut rule: Value, more: Value) -> Value {
    super::merge(&mut rule, more);
    rule
}

/// Members of request bodies: schema, member and its rules.
pub fn body_rules() -> Vec<(&'static str, &'static str, Value)> {
    let title = with(rules::TITLE.schema(), json!({ "example": "Write Docs" }));
    let description = rules::DESCRIPTION.schema();
    let description = with(description, json!({ "nullable": true, "example": "Testing async" }));
    let id = json!({ "minimum": FIRST_ID, "nullable": true, "example": 1 });
    // There need not be any category, so no example names one.
    let category = json!({ "minimum": FIRST_ID, "nullable": true, "example": null });
    let due = json!({ "format": "date-time", "nullable": true, "example": "2030-01-31T12:00:00Z" });
    // The format says the rest.
    let email =
        json!({ "format": "email", "maxLength": user::EMAIL.max, "example": "ada@example.com" });
    let user_name = with(user::NAME.schema(), json!({ "nullable": true, "example": "Ada" }));
    let secret = json!({ "format": "password", "writeOnly": true, "example": "correct horse" });
    let password = with(user::PASSWORD.schema(), secret.clone());
    let current_password = with(user::GIVEN_PASSWORD.schema(), secret);
    let name = with(CATEGORY_NAME.schema(), json!({ "example": "Documentation" }));
    let token_name = with(user::TOKEN_NAME.schema(), json!({ "example": "nightly report" }));
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
            with(user::EMAIL.lengths(), json!({ "example": "ada@example.com" })),
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
pub(super) const PAGES: [(&str, &str); 8] = [
    ("TaskPage", "Task"),
    ("UserPage", "User"),
    ("CategoryPage", "Category"),
    ("ActivityPage", "Activity"),
    ("TokenPage", "Token"),
    ("SessionPage", "OpenSession"),
    ("EventPage", "Event"),
    ("ChangePage", "Change"),
];

/// Other members that are lists, and the schemas of their items.
pub(super) const LISTS: [(&str, &str, &str); 2] =
    [("EventDetail", "effects", "Effect"), ("EventDetail", "story", "StoryLine")];

/// Schemas of responses that are not rows of a page.
pub(super) const ALONE: [&str; 7] =
    ["Session", "CurrentSession", "NewToken", "EventDetail", "Effect", "StoryLine", "Mail"];

/// Members of responses that may be null. Every member is always present except `total`.
pub(super) const NULLABLE: [(&str, &str); 46] = [
    ("Event", "requestId"),
    ("Event", "traceId"),
    ("EventDetail", "requestId"),
    ("EventDetail", "traceId"),
    ("EventDetail", "whyNotDone"),
    ("EventDetail", "deadLetterId"),
    ("Effect", "worker"),
    ("StoryLine", "effect"),
    ("StoryLine", "target"),
    ("StoryLine", "attempt"),
    ("StoryLine", "worker"),
    ("StoryLine", "by"),
    ("StoryLine", "message"),
    ("StoryLine", "nextTryAt"),
    ("StoryLine", "deadLetterId"),
    ("Mail", "to"),
    ("Mail", "error"),
    ("Event", "taskId"),
    ("Event", "taskVersion"),
    ("Event", "actor"),
    ("Event", "causationId"),
    ("EventDetail", "taskId"),
    ("EventDetail", "taskVersion"),
    ("EventDetail", "actor"),
    ("EventDetail", "causationId"),
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
    ("CurrentSession", "expiresAt"),
    ("TokenPage", "nextCursor"),
    ("SessionPage", "nextCursor"),
    ("OpenSession", "expiresAt"),
    ("OpenSession", "lastUsedAt"),
    ("User", "name"),
    ("Activity", "changes"),
    ("TaskPage", "nextCursor"),
    ("UserPage", "nextCursor"),
    ("CategoryPage", "nextCursor"),
    ("ActivityPage", "nextCursor"),
];

/// Query parameters of lists and of `GET /tasks`, by name.
pub fn parameter_rules() -> Vec<(&'static str, Value)> {
    let id = json!({ "type": "integer", "format": "int64", "minimum": FIRST_ID });
    let time = json!({ "type": "string", "format": "date-time" });
    let sorts: Vec<&str> = Sort::all().map(Sort::name).collect();
    vec![
        (
            "limit",
            json!({ "type": "integer", "minimum": 1, "maximum": paging::MOST, "default": paging::USUAL }),
        ),
        ("cursor", json!({ "type": "string", "minLength": 1, "maxLength": CURSOR_BYTES })),
        ("total", json!({ "type": "boolean", "default": false })),
        ("status", json!({ "type": "string", "enum": Status::ALL.map(Status::as_str) })),
        ("userId", id.clone()),
        ("categoryId", id),
        ("search", with(rules::SEARCH.schema(), json!({ "type": "string" }))),
        ("dueBefore", time.clone()),
        ("dueAfter", time),
        ("sort", json!({ "type": "string", "enum": sorts, "default": "-createdAt" })),
    ]
}

/// The query parameters that only `GET /events` has.
pub fn event_parameter_rules() -> Vec<(&'static str, Value)> {
    let types: Vec<&str> = catalog::built_in().iter().map(|known| known.name).collect();
    vec![
        ("taskId", json!({ "type": "integer", "format": "int64", "minimum": FIRST_ID })),
        ("type", json!({ "type": "string", "enum": types })),
        ("published", json!({ "type": "boolean" })),
        ("state", json!({ "type": "string", "enum": EventState::ALL.map(EventState::as_str) })),
        ("since", json!({ "type": "string", "format": "date-time" })),
    ]
}
