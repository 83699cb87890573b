//! The form of every error.

use serde_json::{Value, json};

/// The schema of a problem document.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail", "requestId"],
        "properties": {
            "type": { "type": "string", "format": "uri", "example": "urn:taskd:problem:validation_failed" },
            "title": { "type": "string", "example": "The request is not valid" },
            "status": { "type": "integer", "example": 400 },
            "code": { "type": "string", "description": "Stable; for programs", "example": "validation_failed" },
            "detail": { "type": "string", "example": "the request is not valid" },
            "requestId": { "type": "string", "description": "Also in the X-Request-Id header" },
            "errors": {
                "type": "array",
                "description": "Every wrong part of the request, for `validation_failed`",
                "items": {
                    "type": "object",
                    "required": ["in", "pointer", "message"],
                    "properties": {
                        "in": { "type": "string", "enum": ["body", "query", "path", "header"] },
                        "pointer": { "type": "string", "description": "A JSON pointer (RFC 6901)", "example": "/title" },
                        "message": { "type": "string", "example": "is required" },
                    },
                },
            },
        },
    })
}
