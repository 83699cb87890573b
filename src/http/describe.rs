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

/// A schema of the document, by its name.
pub fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The same, or null. In OpenAPI 3.0 a reference can have nothing beside it.
pub fn schema_or_null(name: &str, description: &str) -> Value {
    json!({ "type": "object", "nullable": true, "allOf": [schema(name)], "description": description })
}

/// An answer that is an error.
pub fn problem(description: &str) -> Value {
    answer(description, PROBLEM_JSON, schema("Problem"))
}

/// The tag of webhooks.
const WEBHOOKS: &str = "webhooks";

/// A route of webhooks for every caller, with what there is to say of it besides the errors.
pub fn of_webhooks(id: &str, summary: &str, more: Value, ok: Value) -> Value {
    let mut operation = json!({
        "operationId": id, "tags": [WEBHOOKS], "summary": summary, "responses": { "200": ok },
    });
    if let (Some(operation), Value::Object(more)) = (operation.as_object_mut(), more) {
        operation.extend(more);
    }
    operation
}

/// A route for admins, with what there is to say of it besides the errors of all of them.
pub fn for_admins(id: &str, summary: &str, more: Value, ok: Value) -> Option<Value> {
    operation((id, summary), "admins", more, ok)
}

/// The same of a route for admins and viewers: one that shows how taskd operates.
pub fn for_viewers(id: &str, summary: &str, more: Value, ok: Value) -> Option<Value> {
    operation((id, summary), "admins and viewers", more, ok)
}

fn operation((id, summary): (&str, &str), whom: &str, more: Value, ok: Value) -> Option<Value> {
    let mut operation = json!({
        "operationId": id, "tags": [OPERATION], "summary": format!("{summary}; for {whom}"),
        "responses": {
            "200": ok,
            "400": problem("The request is not valid"),
            "401": problem("A token is needed, or the token is not valid"),
            "403": problem(&format!("This is for {whom}")),
            "503": problem("The database is away"),
        },
    });
    if let (Some(operation), Value::Object(more)) = (operation.as_object_mut(), more) {
        operation.extend(more);
    }
    Some(operation)
}
