//! Strict parsing of JSON from clients. A member that is given twice is refused: whoever checked
//! the body on its way here may have read the other one.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::http::error::{ApiError, Fault, RequestPart};

/// Parses a text that must be a JSON object, and returns its members.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let repeated = RefCell::new(Vec::new());
    let seed = Strict { path: &Path::Root, repeated: &repeated };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let value = read.map_err(|error| ApiError::MalformedJson(complaint(text, &error)))?;
    let fault = |pointer: String, message: &str| Fault {
        r#in: RequestPart::Body,
        pointer,
        message: message.to_owned(),
    };
    let repeated = repeated.into_inner();
    match value {
        Value::Object(members) if repeated.is_empty() => Ok(members),
        Value::Object(_) => Err(ApiError::Validation(
            repeated.into_iter().map(|at| fault(at, "is given more than once")).collect(),
        )),
        _ => Err(ApiError::Validation(vec![fault(String::new(), "must be a JSON object")])),
    }
}

/// What is wrong with the text, without the library's words for it, and where.
fn complaint(text: &[u8], error: &serde_json::Error) -> String {
    if text.trim_ascii().is_empty() {
        return "it is empty".to_owned();
    }
    let what = match error.classify() {
        Category::Eof => "it ends too early".to_owned(),
        _ => {
            let said = error.to_string();
            let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
            match what {
                "expected value" | "expected ident" => "no value begins like this".to_owned(),
                "key must be a string" => {
                    "the name of a member must be in double quotes".to_owned()
                }
                "trailing characters" => "there is more after its end".to_owned(),
                "recursion limit exceeded" => "it is nested too deeply".to_owned(),
                "invalid unicode code point" => "a text in it is not UTF-8".to_owned(),
                what if what.starts_with("control character") => {
                    "a text in it has a control character that is not escaped".to_owned()
                }
                what => what.to_owned(),
            }
        }
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// The position of a value in the document.
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    /// Writes the path as a JSON pointer (RFC 6901).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(parent, name) => {
                write!(f, "{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
            }
            Path::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Reads any value, and records the members that are repeated.
#[derive(Clone, Copy)]
struct Strict<'a> {
    path: &'a Path<'a>,
    repeated: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        loop {
            let path = Path::Item(self.path, read.len());
            match items.next_element_seed(Strict { path: &path, ..self })? {
                Some(item) => read.push(item),
                None => return Ok(Value::Array(read)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = Path::Member(self.path, &name);
            let value = members.next_value_seed(Strict { path: &path, ..self })?;
            if read.contains_key(&name) {
                let mut repeated = self.repeated.borrow_mut();
                let pointer = path.to_string();
                if !repeated.contains(&pointer) {
                    repeated.push(pointer);
                }
                continue;
            }
            read.insert(name, value);
        }
        Ok(Value::Object(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_given_twice_is_named_wherever_it_is() {
        let text = br#"{"a": 1, "b": {"x/y": 1, "x/y": [{"c": 1, "c": 1}]}, "a": 2, "a": 3}"#;
        let Err(ApiError::Validation(faults)) = object(text) else { panic!("it is refused") };
        let mut pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/a", "/b/x~1y", "/b/x~1y/0/c"]);
        // The same name, spelled differently.
        assert!(object(br#"{"a": 1, "\u0061": 2}"#).is_err());
        assert!(object(br#"{"a": {"b": 1}, "b": {"a": 1}}"#).is_ok());
        for text in [&b"[]"[..], b"null", b"1"] {
            assert!(matches!(object(text), Err(ApiError::Validation(_))));
        }
        for text in [&b""[..], b"{", b"{} {}", b"{\"a\":1e999}", b"\xff"] {
            assert!(matches!(object(text), Err(ApiError::MalformedJson(_))));
        }
    }

    #[test]
    fn what_is_no_json_is_said_in_plain_words() {
        for (text, says) in [
            (&b""[..], "it is empty"),
            (b" \n", "it is empty"),
            (b"{", "it ends too early (line 1, column 1)"),
            (b"{\"a\":\"b", "it ends too early (line 1, column 7)"),
            (b"{\"a\":\nx}", "no value begins like this (line 2, column 1)"),
            (b"{\"a\":nul}", "no value begins like this (line 1, column 9)"),
            (b"{a:1}", "the name of a member must be in double quotes (line 1, column 2)"),
            (b"{} {}", "there is more after its end (line 1, column 4)"),
            (b"{\"a\":1,}", "trailing comma (line 1, column 8)"),
            (
                b"{\"a\":\"b\nc\"}",
                "a text in it has a control character that is not escaped (line 2, column 0)",
            ),
            (b"{\"a\":\"\xff\"}", "a text in it is not UTF-8 (line 1, column 7)"),
            (b"{\"a\":1e999}", "number out of range (line 1, column 10)"),
        ] {
            let Err(ApiError::MalformedJson(said)) = object(text) else { panic!("{text:?}") };
            assert_eq!(said, says, "{}", String::from_utf8_lossy(text));
        }
        let deep = format!("{{\"a\":{}", "[".repeat(200));
        let said = object(deep.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("nested too deeply"), "{said}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_else_is_read_as_the_library_reads_it(value in value()) {
            let text = serde_json::json!({ "v": value }).to_string();
            let ours = object(text.as_bytes()).unwrap();
            let theirs: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Value::Object(ours), theirs);
        }
    }
}
