//! Reads the properties of a message, whatever its headers hold
//! (<https://www.rabbitmq.com/amqp-0-9-1-errata#section_3>). What can't be read is kept as it is.

use serde_json::{Map, Number, Value};

use crate::broker::Message;
use crate::broker::amqp::headers::{is_brokers, set_aside};

/// Takes pieces from the front of what is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(piece)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn short(&mut self) -> Option<String> {
        let [length] = self.array()?;
        Some(String::from_utf8_lossy(self.bytes(length.into())?).into_owned())
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.array()?);
        self.bytes(usize::try_from(length).ok()?)
    }
}

/// The properties that come in this order, each if its bit is set, from the highest down.
const PROPERTIES: [Property; 14] = [
    Property::ContentType,
    Property::Text,
    Property::Headers,
    Property::Octet,
    Property::Octet,
    Property::Text,
    Property::Text,
    Property::Text,
    Property::MessageId,
    Property::Timestamp,
    Property::Type,
    Property::Text,
    Property::Text,
    Property::Text,
];

/// A property, or the shape of one that taskd doesn't use.
#[derive(Clone, Copy)]
enum Property {
    ContentType,
    Headers,
    MessageId,
    Timestamp,
    Type,
    Text,
    Octet,
}

/// Reads the payload of a content header. Returns the message without its body, and how long that
/// is; `None` if it is no content header.
pub(super) fn read(payload: &[u8]) -> Option<(Message, u64)> {
    let mut reader = Reader(payload);
    reader.bytes(4)?;
    let length = u64::from_be_bytes(reader.array()?);
    let flags = u16::from_be_bytes(reader.array()?);
    let mut message = Message::default();
    for (place, property) in PROPERTIES.into_iter().enumerate() {
        if flags & (0x8000 >> place) == 0 {
            continue;
        }
        match property {
            Property::ContentType => message.content_type = Some(reader.short()?),
            Property::MessageId => message.message_id = Some(reader.short()?),
            Property::Type => message.message_type = Some(reader.short()?),
            Property::Timestamp => message.timestamp = Some(u64::from_be_bytes(reader.array()?)),
            Property::Text => drop(reader.short()?),
            Property::Octet => drop(reader.array::<1>()?),
            Property::Headers => {
                let headers = table(reader.long()?);
                (message.broker_headers, message.headers) =
                    headers.into_iter().partition(|(name, _)| is_brokers(name));
            }
        }
    }
    message.set_aside = set_aside(&message.broker_headers);
    Some((message, length))
}

/// Under this name a table has, in hexadecimal, what could not be read of it.
const UNREADABLE: &str = "unreadable";

fn table(bytes: &[u8]) -> Map<String, Value> {
    let mut reader = Reader(bytes);
    let mut map = Map::new();
    while !reader.0.is_empty() {
        let left = reader.0;
        match reader.short().and_then(|name| Some((name, value(&mut reader)?))) {
            Some((name, value)) => drop(map.insert(name, value)),
            None => {
                map.insert(UNREADABLE.to_owned(), hex(left).into());
                break;
            }
        }
    }
    map
}

fn value(reader: &mut Reader<'_>) -> Option<Value> {
    let float = |x: f64| Number::from_f64(x).map_or(Value::Null, Value::Number);
    let [kind] = reader.array()?;
    Some(match kind {
        b't' => (reader.array::<1>()? != [0]).into(),
        b'b' => i8::from_be_bytes(reader.array()?).into(),
        b'B' => u8::from_be_bytes(reader.array()?).into(),
        b's' | b'U' => i16::from_be_bytes(reader.array()?).into(),
        b'u' => u16::from_be_bytes(reader.array()?).into(),
        b'I' => i32::from_be_bytes(reader.array()?).into(),
        b'i' => u32::from_be_bytes(reader.array()?).into(),
        b'l' | b'L' => i64::from_be_bytes(reader.array()?).into(),
        b'T' => u64::from_be_bytes(reader.array()?).into(),
        b'f' => float(f32::from_be_bytes(reader.array()?).into()),
        b'd' => float(f64::from_be_bytes(reader.array()?)),
        b'D' => {
            let ([scale], unscaled) = (reader.array()?, i32::from_be_bytes(reader.array()?));
            format!("{unscaled}e-{scale}").into()
        }
        b'S' => String::from_utf8_lossy(reader.long()?).into(),
        b'x' => hex(reader.long()?).into(),
        b'F' => table(reader.long()?).into(),
        b'A' => {
            let mut items = Reader(reader.long()?);
            let mut values = Vec::new();
            while !items.0.is_empty() {
                values.push(value(&mut items)?);
            }
            values.into()
        }
        b'V' => Value::Null,
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{long, short};
    use super::*;
    use serde_json::json;

    fn header(flags: u16, rest: &[u8]) -> Vec<u8> {
        [&[0, 60, 0, 0][..], &7_u64.to_be_bytes(), &flags.to_be_bytes(), rest].concat()
    }

    #[test]
    fn properties_are_read_and_strange_headers_are_kept() {
        let headers = [
            &short("bad")[..],
            b"S",
            &long(&[0xff, b'a']),
            &short("n")[..],
            b"I\0\0\0\x05",
            &short("list")[..],
            b"A",
            &long(b"t\x01V"),
            &short("x-delivery-count")[..],
            b"l\0\0\0\0\0\0\0\x02",
            &short("odd")[..],
            b"?12",
        ]
        .concat();
        let rest = [
            &short("application/json")[..],
            &long(&headers),
            &[2],
            &short("id"),
            &9_u64.to_be_bytes(),
            &short("TASK_CREATED"),
        ]
        .concat();
        let (message, length) = read(&header(0b1011_0000_1110_0000, &rest)).unwrap();
        assert_eq!(length, 7);
        let of = |text: &Option<String>| text.clone().unwrap();
        assert_eq!(of(&message.content_type), "application/json");
        assert_eq!(of(&message.message_id), "id");
        assert_eq!(
            (of(&message.message_type), message.timestamp),
            ("TASK_CREATED".into(), Some(9))
        );
        assert_eq!(
            Value::Object(message.headers),
            json!({ "bad": "\u{fffd}a", "n": 5, "list": [true, null], "unreadable": "036f64643f3132" })
        );
        assert_eq!(Value::Object(message.broker_headers), json!({ "x-delivery-count": 2 }));
    }

    #[test]
    fn what_is_cut_short_is_no_content_header() {
        let whole = header(0x8000, &short("text/plain"));
        assert!(read(&whole).is_some());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_none(), "{length}");
        }
    }
}
