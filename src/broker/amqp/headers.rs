//! The headers that RabbitMQ sets itself, or obeys.

use serde_json::{Map, Value};

use crate::domain::processing::retry::DeadReason;

/// Whether a header belongs to the broker. `CC` and `BCC` would send a copy to queues that have
/// theirs already (<https://www.rabbitmq.com/docs/sender-selected>); the others tell what the
/// broker did with the message (<https://www.rabbitmq.com/docs/dlx>).
pub(super) fn is_brokers(name: &str) -> bool {
    matches!(name, "CC" | "BCC" | "x-death" | "x-delivery-count" | "x-acquired-count")
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

/// Why the broker has made a message a dead letter, by its headers; `None` if it hasn't.
pub(super) fn set_aside(headers: &Map<String, Value>) -> Option<String> {
    let reason = headers.get("x-first-death-reason")?.as_str()?;
    Some(match reason {
        "delivery_limit" => DeadReason::DeliveryLimit.as_str().to_owned(),
        other => other.to_owned(),
    })
}
