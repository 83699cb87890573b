//! Converts messages to and from AMQP properties and field tables.

use amqprs::{BasicProperties, FieldArray, FieldTable, FieldValue, LongStr, ShortStr};
use serde_json::{Map, Number, Value};

use super::headers::{is_brokers, set_aside};
use crate::broker::Message;

/// The `delivery_mode` of a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// The length of a short string, which is how the protocol carries these properties.
const SHORT_STRING_BYTES: usize = 255;

/// The properties and the body to publish.
pub(super) fn to_amqp(message: Message) -> (BasicProperties, Vec<u8>) {
    let mut properties = BasicProperties::default();
    properties.with_delivery_mode(PERSISTENT);
    if let Some(id) = message.message_id.as_deref().filter(|t| t.len() <= SHORT_STRING_BYTES) {
        properties.with_message_id(id);
    }
    if let Some(name) = message.message_type.as_deref().filter(|t| t.len() <= SHORT_STRING_BYTES) {
        properties.with_message_type(name);
    }
    if let Some(kind) = message.content_type.as_deref().filter(|t| t.len() <= SHORT_STRING_BYTES) {
        properties.with_content_type(kind);
    }
    if let Some(timestamp) = message.timestamp {
        properties.with_timestamp(timestamp);
    }
    if !message.headers.is_empty() {
        properties.with_headers(to_table(&message.headers));
    }
    (properties, message.body)
}

/// The message that arrived.
pub(super) fn from_amqp(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let headers = properties.headers().map(from_table).unwrap_or_default();
    let (broker_headers, headers): (Map<String, Value>, Map<String, Value>) =
        headers.into_iter().partition(|(name, _)| is_brokers(name));
    Message {
        body,
        message_id: properties.message_id().cloned(),
        message_type: properties.message_type().cloned(),
        content_type: properties.content_type().cloned(),
        timestamp: properties.timestamp(),
        headers,
        set_aside: set_aside(&broker_headers),
        broker_headers,
    }
}

/// A table of arguments or headers. Names longer than AMQP allows are left out.
pub(super) fn to_table(map: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in map {
        if let Ok(name) = ShortStr::try_from(name.as_str()) {
            table.insert(name, to_field(value));
        }
    }
    table
}

fn to_field(value: &Value) -> FieldValue {
    match value {
        Value::Null => FieldValue::V,
        Value::Bool(b) => FieldValue::t(*b),
        Value::Number(n) => match n.as_i64() {
            Some(i) => FieldValue::l(i),
            None => FieldValue::d(n.as_f64().unwrap_or_default()),
        },
        Value::String(s) => LongStr::try_from(s.as_str()).map_or(FieldValue::V, FieldValue::S),
        Value::Array(items) => {
            let items: Vec<FieldValue> = items.iter().map(to_field).collect();
            FieldArray::try_from(items).map_or(FieldValue::V, FieldValue::A)
        }
        Value::Object(map) => FieldValue::F(to_table(map)),
    }
}

fn from_table(table: &FieldTable) -> Map<String, Value> {
    table.as_ref().iter().map(|(name, value)| (name.as_ref().clone(), from_field(value))).collect()
}

fn from_field(value: &FieldValue) -> Value {
    let float = |x: f64| Number::from_f64(x).map_or(Value::Null, Value::Number);
    match value {
        FieldValue::t(b) => (*b).into(),
        FieldValue::b(i) => (*i).into(),
        FieldValue::B(i) => (*i).into(),
        FieldValue::s(i) => (*i).into(),
        FieldValue::u(i) => (*i).into(),
        FieldValue::I(i) => (*i).into(),
        FieldValue::i(i) => (*i).into(),
        FieldValue::l(i) => (*i).into(),
        FieldValue::f(x) => float(f64::from(*x)),
        FieldValue::d(x) => float(*x),
        FieldValue::D(decimal) => decimal.to_string().into(),
        FieldValue::S(text) => text.as_ref().clone().into(),
        FieldValue::A(items) => {
            Vec::from(items.clone()).iter().map(from_field).collect::<Vec<_>>().into()
        }
        FieldValue::T(seconds) => (*seconds).into(),
        FieldValue::F(table) => from_table(table).into(),
        FieldValue::V => Value::Null,
        FieldValue::x(bytes) => Vec::<u8>::from(bytes.clone()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_comes_back_as_it_was() {
        let headers =
            json!({ "taskd-attempt": 3, "a": [1, null, "é"], "t": { "x": true }, "f": 0.5 });
        let message = Message {
            body: b"{}".to_vec(),
            message_id: Some("id".into()),
            message_type: Some("TASK_CREATED".into()),
            content_type: Some("application/json".into()),
            timestamp: Some(1_700_000_000),
            headers: headers.as_object().unwrap().clone(),
            ..Message::default()
        };
        let (properties, body) = to_amqp(message.clone());
        assert_eq!(properties.delivery_mode(), Some(PERSISTENT));
        assert_eq!(from_amqp(&properties, body), message);
    }

    #[test]
    fn the_headers_of_the_broker_are_told_apart_and_not_published_again() {
        let mut table = FieldTable::new();
        for (name, value) in [
            ("x-death", "v"),
            ("x-first-death-reason", "delivery_limit"),
            ("CC", "v"),
            ("x-delivery-count", "v"),
            ("x-trace", "v"),
            ("tenant", "v"),
        ] {
            let value = FieldValue::S(LongStr::try_from(value).unwrap());
            table.insert(ShortStr::try_from(name).unwrap(), value);
        }
        let mut properties = BasicProperties::default();
        properties.with_headers(table);
        let message = from_amqp(&properties, Vec::new());
        assert_eq!(message.headers.keys().collect::<Vec<_>>(), ["tenant", "x-trace"]);
        assert_eq!(message.broker_headers.len(), 4);
        assert_eq!(message.set_aside.as_deref(), Some("delivery-limit"));
        let (properties, _) = to_amqp(message);
        assert_eq!(properties.headers().unwrap().as_ref().len(), 2);
    }

    #[test]
    fn what_amqp_cannot_carry_is_left_out_instead_of_failing() {
        let long = "x".repeat(256);
        let mut message = Message { message_id: Some(long.clone()), ..Message::default() };
        message.set_text(&long, "v");
        let (properties, body) = to_amqp(message);
        assert_eq!(from_amqp(&properties, body), Message::default());
    }
}
