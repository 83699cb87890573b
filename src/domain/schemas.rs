//! The JSON Schema (draft 2020-12) of each event type: taskd serves it, publishes by it and
//! enforces it.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::domain::event::EventType;

/// The schema text of one event type.
pub fn text(event_type: EventType) -> &'static str {
    match event_type {
        EventType::TaskCreated => include_str!("schemas/TASK_CREATED.json"),
        EventType::TaskUpdated => include_str!("schemas/TASK_UPDATED.json"),
        EventType::TaskDeleted => include_str!("schemas/TASK_DELETED.json"),
    }
}

/// Checks a message body against the schema of its type.
///
/// # Errors
/// Every fault, each with the JSON pointer (RFC 6901) of its place, separated by `; `.
pub fn check(event_type: EventType, body: &Value) -> Result<(), String> {
    static VALIDATORS: LazyLock<[Validator; 3]> = LazyLock::new(|| EventType::ALL.map(compile));
    let validator = &VALIDATORS[event_type as usize];
    if validator.is_valid(body) {
        return Ok(());
    }
    let faults: Vec<String> = validator
        .iter_errors(body)
        .map(|e| format!("{}: {}", e.instance_path(), e.masked()))
        .collect();
    Err(faults.join("; "))
}

#[expect(clippy::expect_used, reason = "the schemas are compiled in, and a test compiles each")]
fn compile(event_type: EventType) -> Validator {
    let schema: Value = serde_json::from_str(text(event_type)).expect("a schema is JSON");
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("a schema is a schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles_and_names_its_type() {
        for event_type in EventType::ALL {
            compile(event_type);
            let schema: Value = serde_json::from_str(text(event_type)).unwrap();
            assert_eq!(schema["properties"]["type"]["const"], event_type.as_str());
        }
    }
}
