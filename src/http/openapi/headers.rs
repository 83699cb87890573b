//! The headers of requests and responses, which paperclip doesn't describe.

use serde_json::{Map, Value, json};

use super::merge;
use crate::http::error::ApiError;
use crate::http::extract::idempotency_key;
use crate::http::route::Route;

/// `*`, or entity tags with commas between them (RFC 9110, sections 8.8.3 and 13.1).
const ENTITY_TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#;
/// Visible ASCII, bare or in quotes. The escapes that quotes allow are left out for brevity.
const KEY: &str = r#"^([!#-~][!-~]*|"[!#-\[\]-~]+")$"#;

/// Describes an operation's headers. Returns the errors that they add.
pub(super) fn complete(route: &Route, operation: &mut Value) -> Vec<ApiError> {
    let mut errors = Vec::new();
    if let Some((name, text)) = route.precondition {
        let text = format!("{text} entity tags (RFC 9110, section 13.1); * is any");
        let schema =
            json!({ "type": "string", "minLength": 1, "pattern": ENTITY_TAGS, "example": "\"1\"" });
        parameter(operation, name, &text, schema);
        errors.push(ApiError::PreconditionFailed);
        if route.method == "GET" {
            operation["responses"]["304"] = json!({ "description": "Not Modified" });
        }
    }
    for known in route.headers {
        let schema = json!({ "type": "string", "example": known.example });
        header(operation, known.status, known.name, known.description, schema);
    }
    // An order is answered 200 where nothing is made.
    if route.method == "POST" && operation["responses"]["201"].is_object() {
        let place = json!({ "type": "string" });
        header(operation, "201", "Location", "The path of what was made", place);
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let parameters = parameters.into_iter().flatten();
    for parameter in parameters.filter(|parameter| parameter["name"] == idempotency_key::HEADER) {
        merge(parameter, key_parameter());
        errors.extend([ApiError::IdempotencyKeyInUse, ApiError::IdempotencyKeyReused]);
    }
    if errors.iter().any(|error| matches!(error, ApiError::IdempotencyKeyReused)) {
        let text = "The request had been carried out, and this was answered";
        let schema = json!({ "type": "string", "enum": ["true"] });
        header(operation, "201", idempotency_key::REPLAYED, text, schema);
    }
    errors
}

/// The rate limit headers, described once for all responses.
pub(super) fn rates() -> Value {
    let header = |text: &str, schema: Value| {
        let text = format!("{text}. Sent while requests of this kind are limited");
        json!({ "description": text, "schema": schema })
    };
    let whole = || json!({ "type": "integer", "minimum": 0 });
    let text = |example: &str| json!({ "type": "string", "example": example });
    json!({
        "RateLimit-Policy": header(
            "How many requests (q) in how many seconds (w)", text("\"writes\";q=120;w=60"),
        ),
        "RateLimit": header(
            "How many are left (r), and in how many seconds all are (t)", text("\"writes\";r=0;t=60"),
        ),
        "RateLimit-Limit": header("How many requests may be sent at once", whole()),
        "RateLimit-Remaining": header("How many are left", whole()),
        "RateLimit-Reset": header("In how many seconds all are", whole()),
    })
}

/// Every response of a limited route has the rate limit headers. All operations that come here are
/// limited.
pub(super) fn complete_answers(operation: &mut Value) {
    let named =
        |name: &String| (name.clone(), json!({ "$ref": format!("#/components/headers/{name}") }));
    let rates: Map<String, Value> =
        rates().as_object().into_iter().flat_map(Map::keys).map(named).collect();
    for (_, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        merge(&mut answer["headers"], Value::Object(rates.clone()));
    }
}

fn key_parameter() -> Value {
    json!({
        "required": false,
        "schema": {
            "type": "string", "minLength": 1, "maxLength": 255, "pattern": KEY,
            "example": "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
        },
        "description": "Carries the request out once, however often it is sent with this key: a repeat \
                        gets the answer of the first (draft-ietf-httpapi-idempotency-key-header). \
                        Visible ASCII, in quotes or bare; a key is another on another path.",
    })
}

/// Adds an optional header of the request.
fn parameter(operation: &mut Value, name: &str, description: &str, schema: Value) {
    let parameter = json!({
        "name": name, "in": "header", "required": false, "schema": schema,
        "description": description,
    });
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

/// Adds a header of a response.
fn header(operation: &mut Value, status: &str, name: &str, description: &str, schema: Value) {
    let header = json!({ name: { "description": description, "schema": schema } });
    merge(&mut operation["responses"][status]["headers"], header);
}
