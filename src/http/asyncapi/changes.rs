//! The change feed in the AsyncAPI document.

use serde_json::{Map, Value, json};

use super::SCHEMA_FORMAT;
use crate::domain::event::{Event, EventType, EventTypes};
use crate::domain::task::events::KIND;
use crate::feed::{REMOVED, example};

/// The change feed, by HTTP.
pub(super) fn describe(document: &mut Value, types: &EventTypes) {
    document["servers"]["api"] = json!({
        "host": "{host}", "protocol": "http", "description": "The API of this instance.",
        "variables": { "host": { "default": "localhost:3000", "description": "Where it is." } },
    });
    let mut messages = Map::new();
    for event_type in types.iter() {
        let event = Event::example(event_type);
        let subject = subject_schema(event_type);
        messages.insert(event_type.name.to_owned(), change(&event, false, subject));
        // What is not a task is never given to somebody else.
        if event_type.kind == KIND {
            messages.insert(REMOVED.to_owned(), change(&event, true, json!({ "type": "null" })));
        }
    }
    let names: Vec<String> = messages.keys().cloned().collect();
    for (name, message) in messages {
        document["components"]["messages"][format!("{name}.change")] = message;
    }
    let references = names.into_iter().map(|name| {
        let target = format!("#/components/messages/{name}.change");
        (name, json!({ "$ref": target }))
    });
    document["channels"]["changes"] = json!({
        "address": "/changes/stream",
        "servers": [{ "$ref": "#/servers/api" }],
        "description": "The change feed, as server-sent events: each event that the caller may see, once, the versions \
                        of a task in order. `id` is the cursor after it. GET /changes has the same in pages, as \
                        `data` and `nextCursor`.",
        "messages": Map::from_iter(references),
    });
    document["operations"]["send.changes"] = json!({
        "action": "send", "summary": "Whoever follows is told what was committed.",
        "channel": { "$ref": "#/channels/changes" },
        "bindings": { "http": { "method": "GET", "bindingVersion": "0.3.0" } },
    });
}

/// The subject of an event as the feed has it: without what changed.
fn subject_schema(event_type: EventType) -> Value {
    let mut schema = (event_type.payload)();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("changes");
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "changes");
    }
    schema
}

fn change(event: &Event, removed: bool, subject: Value) -> Value {
    let example = example(event, removed);
    let kind = event.subject.kind;
    let name = example["type"].as_str().unwrap_or_default();
    let required = example.as_object().map(|members| members.keys().collect::<Vec<_>>());
    let summary = match removed {
        true => "To a member: what is somebody else's from now on.",
        false => event.event_type.description,
    };
    let mut properties = json!({
        "eventId": { "type": "string", "format": "uuid" },
        "type": { "const": name },
        "version": { "type": "integer" },
        "occurredAt": { "type": "string", "format": "date-time" },
    });
    properties[format!("{kind}Id")] = json!({ "type": "integer" });
    properties[kind] = subject;
    json!({
        "name": name, "title": name, "summary": summary, "contentType": "application/json",
        "payload": { "schemaFormat": SCHEMA_FORMAT, "schema": {
            "type": "object", "required": required, "additionalProperties": false, "properties": properties,
        } },
        "examples": [{ "name": name, "payload": example }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog;

    #[test]
    fn every_change_fits_its_schema() {
        let mut document = json!({ "components": { "messages": {} } });
        describe(&mut document, &catalog::built_in());
        let messages = document["components"]["messages"].as_object().unwrap();
        let changes: Vec<_> =
            messages.iter().filter(|(name, _)| name.ends_with(".change")).collect();
        assert_eq!(changes.len(), 6);
        for (name, message) in changes {
            let schema = jsonschema::options().should_validate_formats(true);
            let schema = schema.build(&message["payload"]["schema"]).unwrap();
            let example = &message["examples"][0]["payload"];
            assert!(schema.is_valid(example), "{name}: {:?}", schema.validate(example));
            let mut other = example.clone();
            other["more"] = json!(1);
            assert!(!schema.is_valid(&other), "{name}");
        }
    }
}
