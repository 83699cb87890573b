//! Headers of requests and answers, which paperclip knows nothing of.

use serde_json::{Value, json};

use super::merge;
use crate::http::error::ApiError;

/// Which operations look at preconditions, and at which above all.
const PRECONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("/tasks/{id}", "get", "If-None-Match", "Answer 304 if the task still has one of these"),
    ("/tasks/{id}", "put", "If-Match", "Write only if the task still has one of these"),
    ("/tasks/{id}", "patch", "If-Match", "Write only if the task still has one of these"),
    ("/tasks/{id}", "delete", "If-Match", "Delete only if the task still has one of these"),
];

/// Answers with the entity tag of a task.
const TAGGED: [(&str, &str, &str); 5] = [
    ("/tasks", "post", "201"),
    ("/tasks/{id}", "get", "200"),
    ("/tasks/{id}", "get", "304"),
    ("/tasks/{id}", "put", "200"),
    ("/tasks/{id}", "patch", "200"),
];

/// Describes an operation's headers. Returns the errors that they bring.
pub(super) fn complete(path: &str, method: &str, operation: &mut Value) -> Vec<ApiError> {
    let mut errors = Vec::new();
    for (_, _, name, text) in PRECONDITIONS.iter().filter(|row| (row.0, row.1) == (path, method)) {
        let text = format!("{text} entity tags (RFC 9110, section 13.1); * is any");
        parameter(operation, name, &text, json!({ "type": "string", "example": "\"1\"" }));
        errors.push(ApiError::PreconditionFailed);
        if method == "get" {
            operation["responses"]["304"] = json!({ "description": "Not Modified" });
        }
    }
    for (_, _, status) in TAGGED.iter().filter(|row| (row.0, row.1) == (path, method)) {
        let tag = json!({ "type": "string", "example": "\"1\"" });
        header(operation, status, "ETag", "The task's version, in quotes", tag);
    }
    if method == "post" {
        let place = json!({ "type": "string" });
        header(operation, "201", "Location", "The path of what was made", place);
    }
    errors
}

/// Adds a header that a request may have.
fn parameter(operation: &mut Value, name: &str, description: &str, schema: Value) {
    let parameter = json!({
        "name": name, "in": "header", "required": false, "schema": schema,
        "description": description,
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

/// Adds a header that an answer has.
fn header(operation: &mut Value, status: &str, name: &str, description: &str, schema: Value) {
    let header = json!({ name: { "description": description, "schema": schema } });
    merge(&mut operation["responses"][status]["headers"], header);
}
