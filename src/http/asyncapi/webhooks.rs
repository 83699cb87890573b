//! Webhooks in the AsyncAPI document.

use serde_json::{Map, Value, json};

use crate::domain::event::{Event, EventTypes};
use crate::webhooks::orders;

/// What is sent to endpoints, by HTTP.
pub(super) fn describe(document: &mut Value, types: &EventTypes) {
    let told = orders::types();
    let mut references = Map::new();
    for event_type in types.iter().filter(|known| told.contains(&known.name)) {
        let name = format!("{}.webhook", event_type.name);
        let mut message = document["components"]["messages"][event_type.name].clone();
        if let Some(message) = message.as_object_mut() {
            message.remove("bindings");
        }
        let event = Event::example(event_type);
        message["headers"] = headers();
        message["examples"][0]["headers"] = json!({
            "webhook-id": event.metadata.event_id,
            "webhook-timestamp": event.metadata.timestamp.timestamp().to_string(),
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        });
        let target = json!({ "$ref": format!("#/components/messages/{name}") });
        references.insert(event_type.name.to_owned(), target);
        document["components"]["messages"][name] = message;
    }
    document["channels"]["webhooks"] = json!({
        "address": null,
        "description": "The endpoints that were named by POST /webhooks: each is sent what its owner may see and it asks \
                        for. docs/webhooks.md has the promise.",
        "messages": references,
    });
    document["operations"]["send.webhooks"] = json!({
        "action": "send",
        "summary": "Each event is sent to endpoints, again and again until it is answered 2xx or given up.",
        "channel": { "$ref": "#/channels/webhooks" },
        "bindings": { "http": { "method": "POST", "bindingVersion": "0.3.0" } },
    });
}

/// The headers of Standard Webhooks.
fn headers() -> Value {
    let text = |says: &str| json!({ "type": "string", "description": says });
    json!({
        "type": "object",
        "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
        "properties": {
            "webhook-id": text("The event's id, the same on every try: by it repetitions are told."),
            "webhook-timestamp": text("When this try was made, in seconds since 1970."),
            "webhook-signature": text("`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body with dots between \
                them, by the webhook's secret; two with a space between them while that is rotated."),
        },
    })
}
