//! The routes that are not described by paperclip: the index, the documents, and those for
//! monitoring and operating a process.

use serde_json::{Value, json};

use crate::http::error::PROBLEM_JSON;

/// The tag of documents about the API.
const DOCUMENTS: &str = "documentation";
/// The tag of routes that monitor and operate a process.
const OPERATION: &str = "operation";

/// Adds these routes to the document.
pub(super) fn add(document: &mut Value) {
    let paths = &mut document["paths"];
    paths["/"] = json!({ "get": {
        "operationId": "index", "tags": [DOCUMENTS], "security": [], "summary": "What there is here",
        "responses": {
            "200": answer("Where everything is", "application/json", json!({ "type": "object" })),
            "302": { "description": "To the documentation, for a browser" },
        },
    } });
    paths["/openapi.json"] = json!({ "get": {
        "operationId": "openapi", "tags": [DOCUMENTS], "security": [], "summary": "This document",
        "responses": {
            "200": answer("OpenAPI 3.0", "application/json", json!({ "type": "object" })),
        },
    } });
    paths["/docs"] = json!({ "get": {
        "operationId": "docs", "tags": [DOCUMENTS], "security": [], "summary": "This document, to be tried out",
        "responses": { "302": { "description": "To Swagger UI" } },
    } });
    paths["/schemas/{type}"] = json!({ "get": {
        "operationId": "getSchema", "tags": [DOCUMENTS], "security": [],
        "summary": "The JSON Schema of an event type",
        "parameters": [{
            "name": "type", "in": "path", "required": true,
            "schema": { "type": "string", "example": "TASK_CREATED" },
        }],
        "responses": {
            "200": answer("JSON Schema 2020-12", "application/schema+json", json!({ "type": "object" })),
            "404": problem("There is no such event type"),
        },
    } });
    paths["/healthz"] = json!({ "get": {
        "operationId": "isAlive", "tags": [OPERATION], "security": [], "summary": "Whether the process is alive",
        "responses": { "200": answer("It is", "application/json", status(&["ok"])) },
    } });
    paths["/readyz"] = json!({ "get": {
        "operationId": "isReady", "tags": [OPERATION], "security": [],
        "summary": "Whether the process can do its work, and how each dependency is",
        "responses": {
            "200": answer("It can, if more slowly", "application/json", status(&["ok", "degraded"])),
            "503": answer("It can't", "application/json", status(&["unavailable"])),
        },
    } });
    paths["/metrics"] = json!({ "get": {
        "operationId": "getMetrics", "tags": [OPERATION],
        "summary": "What the process counts, for Prometheus; for admins unless METRICS_PUBLIC",
        "responses": {
            "200": answer("The text format", "text/plain", json!({ "type": "string" })),
            "401": problem("A token is needed, or the token is not valid"),
            "403": problem("This is for admins"),
        },
    } });
    paths["/operator/dead-letters"] = json!({ "post": {
        "operationId": "orderDeadLetters", "tags": [OPERATION],
        "summary": "What `taskd dlq` does, for admins",
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object", "required": ["action"], "additionalProperties": false,
            "properties": {
                "action": { "type": "string", "enum": ["list", "show", "replay", "discard"], "example": "list" },
                "limit": {
                    "type": "integer", "minimum": 0, "example": 20,
                    "description": "With `list`: how many at most.",
                },
                "selection": {
                    "description": "With the others: `\"all\"`, or `{ \"ids\": [ … ] }` with ids of letters or \
                                    of their events.",
                },
            },
            "example": { "action": "list", "limit": 20 },
        } } } },
        "responses": {
            "200": answer("What was done", "application/json", json!({})),
            "400": problem("The request is not valid"),
            "401": problem("A token is needed, or the token is not valid"),
            "403": problem("This is for admins"),
            "503": problem("The broker is away"),
        },
    } });
}

fn status(values: &[&str]) -> Value {
    json!({
        "type": "object", "required": ["status"],
        "properties": { "status": { "type": "string", "enum": values }, "dependencies": { "type": "object" } },
    })
}

fn answer(description: &str, media_type: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { media_type: { "schema": schema } } })
}

fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    answer(description, PROBLEM_JSON, schema)
}
