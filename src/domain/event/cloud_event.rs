//! An event by the attributes of CloudEvents
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>).

use super::Event;

/// The version of CloudEvents whose attributes these are.
const SPEC_VERSION: &str = "1.0";

/// The attributes of an event. The last two are extensions
/// (<https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents/extensions>).
pub fn attributes(event: &Event) -> [(&'static str, String); 9] {
    let subject = format!("{}/{}", event.subject.kind, event.subject.id);
    [
        ("specversion", SPEC_VERSION.to_owned()),
        ("id", event.metadata.event_id.to_string()),
        ("source", event.metadata.source.clone()),
        ("type", event.event_type.name.to_owned()),
        ("subject", subject.clone()),
        ("time", event.metadata.timestamp.to_rfc3339()),
        ("dataschema", format!("/schemas/{}", event.event_type.name)),
        ("partitionkey", subject),
        // Texts sort as versions do.
        ("sequence", format!("{:019}", event.subject.version)),
    ]
}

/// The prefix of an attribute in a header, by the binding for AMQP
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>).
pub const AMQP_PREFIX: &str = "cloudEvents_";
