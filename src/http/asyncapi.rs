//! The AsyncAPI 3.1 document (<https://www.asyncapi.com/docs/reference/specification/v3.1.0>): where
//! events are, and what each type looks like. It is made from the schemas by which messages are
//! checked, from the topology that is declared, and from the attributes that are published.

mod changes;
mod webhooks;

use serde_json::{Map, Value, json};

use crate::broker::topology::{Queue, Topology};
use crate::domain::event::cloud_event::{self, AMQP_PREFIX};
use crate::domain::event::{Event, EventType, EventTypes};

/// The version of the specification.
const VERSION: &str = "3.1.0";
/// The format of the schemas of payloads.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// Makes the document. Without a topology the broker is inside the database, and nobody else can
/// read its queues.
pub fn document(types: &EventTypes, topology: Option<&Topology>) -> Value {
    let mut document = json!({
        "asyncapi": VERSION,
        "info": {
            "title": "taskd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every change of a task is an event. It comes at least once: tell repetitions by \
                            its id. Events about one task may come out of order: compare its version.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
            "contact": { "name": "Whoever runs this instance" },
        },
        "defaultContentType": "application/json",
        "channels": {},
        "operations": {},
        "components": { "messages": messages(types) },
    });
    changes::describe(&mut document, types);
    webhooks::describe(&mut document, types);
    if let Some(topology) = topology {
        document["servers"]["broker"] = json!({
            "host": "{host}", "protocol": "amqp", "protocolVersion": "0-9-1",
            "description": "RabbitMQ.",
            "variables": { "host": { "default": "localhost:5672", "description": "Where it is." } },
        });
        queues(&mut document, topology, types);
        exchange(&mut document, topology, types);
    }
    document
}

fn messages(types: &EventTypes) -> Map<String, Value> {
    types
        .iter()
        .map(|event_type| (event_type.name.to_owned(), message(types, event_type)))
        .collect()
}

fn message(types: &EventTypes, event_type: EventType) -> Value {
    let example = Event::example(event_type);
    let body: Value = serde_json::from_slice(&example.encode()).unwrap_or_default();
    json!({
        "name": event_type.name,
        "title": event_type.name,
        "summary": event_type.description,
        "contentType": "application/json",
        "payload": { "schemaFormat": SCHEMA_FORMAT, "schema": types.schema(event_type.name) },
        "correlationId": { "location": "$message.payload#/metadata/eventId",
                           "description": "The event's id, the same on every repetition." },
        "bindings": { "amqp": { "messageType": event_type.name, "bindingVersion": "0.3.0" } },
        "examples": [{ "name": event_type.name, "payload": body }],
    })
}

/// The queues. They are taskd's own: who else consumes from one takes messages from its workers.
fn queues(document: &mut Value, topology: &Topology, types: &EventTypes) {
    for queue in &topology.queues {
        document["channels"][&queue.name] = channel(queue, types);
        let is_main = queue.name == topology.main();
        let verbs: &[&str] = if is_main { &["send", "receive"] } else { &["send"] };
        for action in verbs {
            let summary = match (is_main, *action) {
                (true, "receive") => "Workers take events and do what they need.",
                (true, _) => "What was committed is published, and confirmed by the broker.",
                _ => "A worker sets a message aside that has failed.",
            };
            document["operations"][format!("{action}.{}", queue.name)] = json!({
                "action": action, "summary": summary,
                "channel": { "$ref": format!("#/channels/{}", pointer(&queue.name)) },
            });
        }
    }
}

fn channel(queue: &Queue, types: &EventTypes) -> Value {
    json!({
        "address": queue.name,
        "description": format!("A queue of taskd's own: {}. Bind a queue of yours to the exchange instead of \
                                consuming from this one.", queue.purpose),
        "messages": references(types),
        "bindings": { "amqp": {
            "is": "queue", "bindingVersion": "0.3.0",
            "queue": { "name": queue.name, "durable": true, "exclusive": false, "autoDelete": false },
        } },
    })
}

/// The exchange for others. Its messages have headers beside those of the queue.
fn exchange(document: &mut Value, topology: &Topology, types: &EventTypes) {
    let Some(exchange) = &topology.exchange else { return };
    let keys: Vec<String> = types.iter().map(|event_type| event_type.routing_key()).collect();
    for event_type in types.iter() {
        let name = format!("{}.others", event_type.name);
        let message = &document["components"]["messages"][event_type.name];
        let mut message = message.clone();
        let headers = Event::example(event_type);
        let headers = cloud_event::attributes(&headers)
            .map(|(name, value)| (format!("{AMQP_PREFIX}{name}"), json!(value)));
        let schema = headers.clone().map(|(name, _)| (name, json!({ "type": "string" })));
        let required = headers.each_ref().map(|(name, _)| name.clone());
        message["headers"] = json!({
            "type": "object", "required": required, "properties": Map::from_iter(schema),
        });
        message["examples"][0]["headers"] = Map::from_iter(headers).into();
        document["components"]["messages"][name] = message;
    }
    let messages = Map::from_iter(types.iter().map(|event_type| {
        let target = format!("#/components/messages/{}.others", event_type.name);
        (event_type.name.to_owned(), json!({ "$ref": target }))
    }));
    document["channels"][&exchange.name] = json!({
        "address": "{routingKey}",
        "description": "The exchange for others: bind a queue of your own to it. docs/exchange.md has the promise.",
        "parameters": { "routingKey": { "enum": keys, "description": "The kind of subject, and what happened." } },
        "messages": messages,
        "bindings": { "amqp": {
            "is": "routingKey", "bindingVersion": "0.3.0",
            "exchange": { "name": exchange.name, "type": exchange.r#type, "durable": true, "autoDelete": false },
        } },
    });
    document["operations"][format!("send.{}", exchange.name)] = json!({
        "action": "send",
        "summary": "Each event is published for others, and confirmed by the broker.",
        "channel": { "$ref": format!("#/channels/{}", pointer(&exchange.name)) },
    });
}

fn references(types: &EventTypes) -> Map<String, Value> {
    let reference = |event_type: EventType| {
        let target = format!("#/components/messages/{}", event_type.name);
        (event_type.name.to_owned(), json!({ "$ref": target }))
    };
    types.iter().map(reference).collect()
}

/// A name as part of a JSON pointer (RFC 6901) in a fragment.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::topology::Exchange;
    use crate::domain::catalog;

    fn made() -> Value {
        let topology = Topology::new("q", "q.retry", "q.dlq", &[Duration::from_secs(1)]);
        let topology = topology.with_exchange(Some(Exchange::new("x/y")));
        document(&catalog::built_in(), Some(&topology))
    }

    #[test]
    fn every_example_is_an_event_by_its_schema() {
        let (document, types) = (made(), catalog::built_in());
        for (name, message) in document["components"]["messages"].as_object().unwrap() {
            if name.ends_with(".change") {
                continue;
            }
            let body = &message["examples"][0]["payload"];
            let id = body["metadata"]["eventId"].as_str();
            let event = types.decode(body.to_string().as_bytes(), id, body["type"].as_str());
            assert!(event.is_ok(), "{name}: {event:?}");
            assert_eq!(
                message["payload"]["schema"],
                *types.schema(message["name"].as_str().unwrap()).unwrap()
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = made();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_nobody_else_can_reach_is_not_promised() {
        let document = document(&catalog::built_in(), None);
        let names =
            |part: &str| document[part].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            (names("channels"), names("servers")),
            (vec!["changes".into(), "webhooks".into()], vec!["api".into()])
        );
    }
}
