//! The rules of fields, each stated once: requests are validated by them, and the OpenAPI document
//! and the schemas of events are made from them.

use serde_json::{Value, json};

/// PostgreSQL texts can't have a NUL character, so the API's can't either.
pub const NO_NUL: &str = r"^[^\u0000]*$";
/// The same for a text that must not be blank.
pub const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";

/// The rule of a text. Lengths are in characters (Unicode scalar values).
#[derive(Debug, Clone, Copy)]
pub struct TextRule {
    /// The shortest it may be.
    pub min: usize,
    /// The longest it may be.
    pub max: usize,
    /// Whether it must show something: see [`crate::domain::text::shows_something`].
    pub not_blank: bool,
}

impl TextRule {
    /// Whether a text has an allowed length.
    pub fn allows_length_of(&self, text: &str) -> bool {
        (self.min..=self.max).contains(&text.chars().count())
    }

    /// What to say of a text whose length is not allowed, after the name of its field.
    pub fn expected_length(&self) -> String {
        format!("must have {} to {} characters", self.min, self.max)
    }

    /// The allowed lengths as members of a JSON Schema.
    pub fn lengths(&self) -> Value {
        match self.min {
            0 => json!({ "maxLength": self.max }),
            min => json!({ "minLength": min, "maxLength": self.max }),
        }
    }

    /// The whole rule as members of a JSON Schema, for what clients send.
    pub fn schema(&self) -> Value {
        let mut schema = self.lengths();
        schema["pattern"] = json!(if self.not_blank { NOT_BLANK } else { NO_NUL });
        schema
    }
}

/// What a category is called.
pub const CATEGORY_NAME: TextRule = TextRule { min: 1, max: 100, not_blank: true };

/// The smallest id that the database assigns.
pub const FIRST_ID: i64 = 1;
