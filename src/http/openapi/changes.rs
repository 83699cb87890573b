//! What the document says of the change feed beside its routes.

use serde_json::{Value, json};

use crate::domain::catalog;
use crate::feed::REMOVED;
use crate::http::describe::schema_or_null;
use crate::http::routes::changes::{MOST, USUAL};

/// Completes the schema of an entry.
pub(super) fn complete(schema: &mut Value) {
    let names = catalog::built_in();
    let names: Vec<&str> = names.iter().map(|known| known.name).chain([REMOVED]).collect();
    let properties = &mut schema["properties"];
    properties["type"]["enum"] = json!(names);
    properties["eventId"]["format"] = json!("uuid");
    let says = "The task as it was committed; null if it has left the reader's sight.";
    properties["task"] = schema_or_null("Task", says);
    // What happens to a webhook names that instead.
    properties["webhookId"] = json!({ "type": "integer", "format": "int64", "description": "The webhook it happened to." });
    properties["webhook"] = json!({ "type": "object", "description": "What is said of the webhook.",
        "additionalProperties": {} });
    schema["required"] = json!(["eventId", "type", "version", "occurredAt"]);
}

/// The rules of the parameters, by path and name.
pub(super) fn parameter_rules() -> Vec<(&'static str, Value)> {
    // It has a greatest length, but the server reads no address that is much longer.
    let since = json!({ "type": "string", "minLength": 1, "example": "now" });
    let types = json!({ "type": "string", "minLength": 1, "example": "TASK_CREATED,TASK_UPDATED" });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL });
    vec![
        ("/changes since", since.clone()),
        ("/changes types", types.clone()),
        ("/changes limit", limit),
        ("/changes/stream since", since),
        ("/changes/stream types", types),
    ]
}
