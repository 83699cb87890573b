//! Pieces of the OpenAPI document, for routes whose handlers don't describe themselves.

use serde_json::{Value, json};

use crate::http::error::PROBLEM_JSON;

/// The tag of documents about the API.
pub const DOCUMENTS: &str = "documentation";
/// The tag of routes that monitor and operate a process.
pub const OPERATION: &str = "operation";

/// An answer with a body.
pub fn answer(description: &str, media_type: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { media_type: { "schema": schema } } })
}

/// An answer that is an error.
pub fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    answer(description, PROBLEM_JSON, schema)
}

/// A route for admins that reads parameters or a body, with what else there is to say of it.
pub fn for_admins(id: &str, summary: &str, more: Value, ok: Value) -> Option<Value> {
    let mut operation = json!({
        "operationId": id, "tags": [OPERATION], "summary": format!("{summary}; for admins"),
        "responses": {
            "200": ok,
            "400": problem("The request is not valid"),
            "401": problem("A token is needed, or the token is not valid"),
            "403": problem("This is for admins"),
            "503": problem("The database is away"),
        },
    });
    if let (Some(operation), Value::Object(more)) = (operation.as_object_mut(), more) {
        operation.extend(more);
    }
    Some(operation)
}
