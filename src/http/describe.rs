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
