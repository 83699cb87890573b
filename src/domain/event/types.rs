//! The types of events, each with the schema of its body.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{ActorKind, SCHEMA_VERSION, SOURCE};

/// A type of event: what happened to a kind of subject.
#[derive(Clone, Copy)]
pub struct EventType {
    /// The name in the body, in the AMQP `type` property and in the database, such as
    /// `TASK_CREATED`. It must never change.
    pub name: &'static str,
    /// The kind of its subject, such as `task`.
    pub kind: &'static str,
    /// What has happened, as a sentence.
    pub description: &'static str,
    /// Makes the JSON Schema (draft 2020-12) of the payload. A payload has the integers `id` and
    /// `version` of the subject.
    pub payload: fn() -> Value,
    /// Makes an example of a payload, for people.
    pub example: fn() -> Value,
    /// Reads a payload as effects do. A payload that fits the schema and can't be read (a number
    /// that no field can hold) is malformed.
    pub readable: fn(&Value) -> Result<(), String>,
}

impl EventType {
    /// By which receivers outside choose events: the kind of subject, and what happened to it, such
    /// as `task.created`. Further words of the name are one word here, so `task.*` is all of tasks.
    pub fn routing_key(&self) -> String {
        self.name.to_lowercase().replacen('_', ".", 1)
    }
}

impl PartialEq for EventType {
    fn eq(&self, other: &EventType) -> bool {
        self.name == other.name
    }
}

impl Eq for EventType {}

impl std::fmt::Debug for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The types that a process knows. A message of any other type is malformed to it.
#[derive(Clone, Default)]
pub struct EventTypes(Arc<Vec<Registered>>);

#[derive(Clone)]
struct Registered {
    event_type: EventType,
    schema: Arc<Value>,
    validator: Arc<Validator>,
}

impl EventTypes {
    /// Adds a type to the list.
    ///
    /// # Errors
    /// The name is taken, or the schema is not one.
    pub fn with(mut self, event_type: EventType) -> Result<EventTypes, String> {
        let name = event_type.name;
        if self.find(name).is_some() {
            return Err(format!("there is an event type {name} already"));
        }
        let schema = body_schema(&event_type);
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| format!("the schema of {name}: {error}"))?;
        let known =
            Registered { event_type, schema: Arc::new(schema), validator: Arc::new(validator) };
        Arc::make_mut(&mut self.0).push(known);
        Ok(self)
    }

    /// Every type, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = EventType> {
        self.0.iter().map(|known| known.event_type)
    }

    /// The type with this name.
    pub fn find(&self, name: &str) -> Option<EventType> {
        self.known(name).map(|known| known.event_type)
    }

    /// The JSON Schema of the bodies of this type.
    pub fn schema(&self, name: &str) -> Option<&Value> {
        self.known(name).map(|known| &*known.schema)
    }

    fn known(&self, name: &str) -> Option<&Registered> {
        self.0.iter().find(|known| known.event_type.name == name)
    }

    /// Checks a message body against the schema of its type.
    ///
    /// # Errors
    /// Every fault, each with the JSON pointer (RFC 6901) to it, separated by `; `.
    pub(super) fn check(&self, event_type: EventType, body: &Value) -> Result<(), String> {
        let known = self.known(event_type.name).ok_or("its type is not known")?;
        if known.validator.is_valid(body) {
            return (event_type.readable)(&body["payload"]);
        }
        let faults: Vec<String> = known
            .validator
            .iter_errors(body)
            .map(|e| format!("{}: {}", e.instance_path(), e.masked()))
            .collect();
        Err(faults.join("; "))
    }
}

/// The schema of a whole body: what all events have in common, around the payload.
fn body_schema(event_type: &EventType) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type.name,
        "description": event_type.description,
        "type": "object",
        "required": ["type", "payload", "metadata"],
        "additionalProperties": false,
        "properties": {
            "type": { "const": event_type.name },
            "payload": (event_type.payload)(),
            "metadata": {
                "type": "object",
                "required": ["eventId", "timestamp", "source", "schemaVersion"],
                "additionalProperties": false,
                "properties": {
                    "eventId": { "type": "string", "format": "uuid" },
                    "timestamp": { "type": "string", "format": "date-time" },
                    "source": { "const": SOURCE },
                    "schemaVersion": { "const": SCHEMA_VERSION },
                    "actor": {
                        "type": "object",
                        "required": ["kind", "id"],
                        "additionalProperties": false,
                        "properties": {
                            "kind": { "enum": ActorKind::ALL.map(ActorKind::as_str) },
                            "id": { "type": ["integer", "null"] },
                        },
                    },
                    "causationId": { "type": ["string", "null"], "format": "uuid" },
                },
            },
        },
    })
}
