//! Reads bodies and query strings member by member, so that all faults are reported at once and no
//! unknown member is ignored.

use std::collections::BTreeSet;
use std::fmt::Display;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use garde::Validate;
use paperclip::v2::models::DefaultSchemaRaw;
use paperclip::v2::schema::Apiv2Schema;
use serde_json::{Map, Value};

use crate::http::error::{ApiError, Fault, RequestPart};
use crate::http::extract::hints;
use crate::http::extract::words::{Expected, not_expected, plain};

/// The members of a JSON object, or the parameters of a query string, while they are being read.
pub struct Fields {
    part: RequestPart,
    left: Map<String, Value>,
    /// The names that were asked for so far. When reading is finished, these are all valid names.
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

/// A member of a merge patch (RFC 7396).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Patch<T> {
    /// The member is absent: the field keeps its value.
    #[default]
    Absent,
    /// The member is null: the field is cleared.
    Null,
    /// The field is set to this value.
    Set(T),
}

impl<T> Patch<T> {
    /// The new value of a field that can be cleared.
    pub fn or(self, before: Option<T>) -> Option<T> {
        match self {
            Patch::Absent => before,
            Patch::Null => None,
            Patch::Set(value) => Some(value),
        }
    }
}

impl<T: Apiv2Schema> Apiv2Schema for Patch<T> {
    fn name() -> Option<String> {
        T::name()
    }
    fn required() -> bool {
        false
    }
    fn raw_schema() -> DefaultSchemaRaw {
        T::raw_schema()
    }
}

impl Fields {
    pub(super) fn new(part: RequestPart, left: Map<String, Value>) -> Fields {
        Fields { part, left, known: Vec::new(), faults: Vec::new() }
    }

    /// Records a fault of the member of that name.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(self.part, name, message));
    }

    /// A required member. If it is missing or wrong, a default is returned in its place, so that
    /// the remaining members are checked too.
    pub fn required<T: Expected + Default>(&mut self, name: &'static str) -> T {
        match self.patch(name) {
            Patch::Set(value) => value,
            Patch::Null => {
                self.fault(name, "must not be null");
                T::default()
            }
            Patch::Absent => {
                if !self.faulty(name) {
                    self.fault(name, "is required");
                }
                T::default()
            }
        }
    }

    /// A member that may be absent but not null.
    pub fn unless_absent<T: Expected>(&mut self, name: &'static str) -> Option<T> {
        match self.patch(name) {
            Patch::Set(value) => Some(value),
            Patch::Absent => None,
            Patch::Null => {
                self.fault(name, "must not be null");
                None
            }
        }
    }

    /// A member that may be absent or null.
    pub fn optional<T: Expected>(&mut self, name: &'static str) -> Option<T> {
        self.patch(name).or(None)
    }

    /// A member for which absent and null mean different things.
    pub fn patch<T: Expected>(&mut self, name: &'static str) -> Patch<T> {
        self.known.push(name);
        match self.left.remove(name) {
            None => Patch::Absent,
            Some(Value::Null) => Patch::Null,
            Some(Value::String(text)) if text.contains('\0') => {
                self.fault(name, "must not contain the NUL character");
                Patch::Absent
            }
            // No member of ours is one, and serde would also read an enum from `{"pending": null}`.
            Some(value @ (Value::Object(_) | Value::Array(_))) => {
                self.fault(name, not_expected::<T>(&value));
                Patch::Absent
            }
            // The library's messages are written for programmers, so they are replaced.
            Some(value) => match serde_json::from_value(value.clone()) {
                Ok(value) => Patch::Set(value),
                Err(_) => {
                    self.fault(name, not_expected::<T>(&value));
                    Patch::Absent
                }
            },
        }
    }

    /// A member as it is, which the caller checks; `None` if it is absent.
    pub fn unchecked(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name)
    }

    /// A query parameter. `expected` completes "must be …".
    pub fn parameter<T>(
        &mut self,
        name: &'static str,
        expected: impl Display,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text: String = self.unless_absent(name)?;
        let value = read(&text);
        if value.is_none() {
            self.fault(name, format!("must be {expected}"));
        }
        value
    }

    /// Checks the value against its rules. A member that is already known to be wrong is skipped,
    /// since only its default is there to check.
    pub fn validate<T: Validate<Context = ()>>(&mut self, value: &T) {
        let Err(report) = value.validate() else { return };
        for (path, error) in report.iter() {
            let name = camel_case(&path.to_string());
            if !self.faulty(&name) {
                self.fault(&name, plain(error.message()));
            }
        }
    }

    /// Whether the member is there and has not been read yet.
    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    fn faulty(&self, name: &str) -> bool {
        let pointer = Fault::new(self.part, name, "").pointer;
        self.faults.iter().any(|fault| fault.pointer == pointer)
    }

    pub(super) fn finish<T>(mut self, value: T) -> Result<T, ApiError> {
        let unknown: Vec<String> = self.left.keys().cloned().collect();
        for name in unknown {
            let message = hints::unknown(self.part, &name, &self.known);
            self.fault(&name, message);
        }
        if self.faults.is_empty() { Ok(value) } else { Err(ApiError::Validation(self.faults)) }
    }
}

fn camel_case(snake: &str) -> String {
    let mut name = String::with_capacity(snake.len());
    let mut upper = false;
    for c in snake.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                name.extend(c.to_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    name
}

/// A type that is read from fields.
pub trait FromFields: Sized + 'static {
    /// Reads the members it knows and records faults. The result counts only if there are none.
    fn from_fields(fields: &mut Fields) -> Self;

    /// The media types accepted for its body. The first is named to clients that send another.
    const MEDIA_TYPES: &'static [&'static str] = &["application/json"];

    /// Members of which nothing may be stored, not even a hash.
    const SECRETS: &'static [&'static str] = &[];
}

/// The parameters of a query string.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: FromFields> FromRequest for Params<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut fields = query(request.query_string());
        let value = T::from_fields(&mut fields);
        ready(fields.finish(Params(value)))
    }
}

/// Refuses every parameter of a query string, for a route that has none.
///
/// # Errors
/// [`ApiError::Validation`] if there is a parameter.
pub(in crate::http) fn no_parameters(query_string: &str) -> Result<(), ApiError> {
    query(query_string).finish(())
}

fn query(query_string: &str) -> Fields {
    let mut members = Map::new();
    let mut repeated = BTreeSet::new();
    for (name, value) in url::form_urlencoded::parse(query_string.as_bytes()) {
        if members.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            repeated.insert(name.into_owned());
        }
    }
    let mut fields = Fields::new(RequestPart::Query, members);
    for name in repeated {
        fields.fault(&name, "is given more than once");
    }
    fields
}

described_as!(Params<T>, actix_web::web::Query<T>, T: Apiv2Schema);
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::new(RequestPart::Body, value.as_object().unwrap().clone())
    }

    #[test]
    fn absent_null_and_set_are_three_things() {
        let mut fields = fields(json!({ "null": null, "set": 1, "wrong": "x", "nul": "a\u{0}" }));
        assert_eq!(fields.patch::<i64>("absent"), Patch::Absent);
        assert_eq!(fields.patch::<i64>("null"), Patch::Null);
        assert_eq!(fields.patch::<i64>("set"), Patch::Set(1));
        assert!(fields.faults.is_empty());
        fields.patch::<i64>("wrong");
        fields.patch::<String>("nul");
        assert_eq!(fields.faults.len(), 2);
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let mut fields = fields(json!({ "a": 1, "b": null, "~/": true }));
        fields.required::<String>("a");
        fields.required::<String>("b");
        fields.required::<String>("c");
        let Err(ApiError::Validation(faults)) = fields.finish(()) else { panic!("no faults") };
        let pointers: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", "/b", "/c", "/~0~1"]);
    }

    #[test]
    fn names_in_json_are_camel_case() {
        assert_eq!(camel_case("due_at"), "dueAt");
        assert_eq!(camel_case("title"), "title");
    }
}
