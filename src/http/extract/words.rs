//! Messages that say in plain words what is wrong with a value; the libraries' are for programmers.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::task::Status;
use crate::domain::user::Role;

/// What a member must be, in words that complete "must be …".
pub trait Expected: DeserializeOwned {
    /// Such as "a whole number".
    fn expected() -> String;
}

impl Expected for String {
    fn expected() -> String {
        "a text".to_owned()
    }
}

impl Expected for i64 {
    fn expected() -> String {
        "a whole number".to_owned()
    }
}

impl Expected for usize {
    fn expected() -> String {
        "a whole number from 0 on".to_owned()
    }
}

impl Expected for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }
}

impl Expected for Status {
    fn expected() -> String {
        format!("one of {}", Status::ALL.map(Status::as_str).join(", "))
    }
}

impl Expected for Role {
    fn expected() -> String {
        format!("one of {}", Role::ALL.map(Role::as_str).join(", "))
    }
}

/// Says what a value is and what it must be. The value itself is not shown, since it may be a
/// secret.
pub(in crate::http) fn not_expected<T: Expected>(value: &Value) -> String {
    // Where a number is wanted, it matters which one this is.
    let wants_number = T::expected().contains("number");
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) if !wants_number => "a number",
        Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() != 0.0) => {
            "a number with a fraction"
        }
        Value::Number(number) if number.as_i64().is_some_and(|n| n < 0) => "a negative number",
        Value::Number(number) if number.is_f64() || number.is_u64() => "a number of that size",
        Value::Number(_) => "a number",
        Value::String(_) => "this text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("must be {}, not {kind}", T::expected())
}

/// Translates the validation library's messages into plain words.
pub(in crate::http) fn plain(message: &str) -> String {
    let of = |prefix: &str| message.strip_prefix(prefix);
    if let Some(least) = of("length is lower than ") {
        return match least {
            "1" => "must not be empty".to_owned(),
            _ => format!("must have at least {least} characters"),
        };
    }
    if let Some(most) = of("length is greater than ") {
        return format!("must have {most} characters at most");
    }
    if let Some(least) = of("lower than ") {
        return format!("must be {least} or more");
    }
    if let Some(most) = of("greater than ") {
        return format!("must be {most} or less");
    }
    if of("not a valid email").is_some() {
        return "must be an e-mail address such as ada@example.com".to_owned();
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use garde::Validate;
    use serde_json::json;

    #[test]
    fn a_value_of_another_kind_is_named_by_its_kind_alone() {
        let of_number = |value| not_expected::<i64>(&value);
        for (said, wanted) in [
            (not_expected::<String>(&json!(-1)), "must be a text, not a number"),
            (not_expected::<String>(&json!(5)), "must be a text, not a number"),
            (not_expected::<bool>(&json!(1.5)), "must be true or false, not a number"),
            (of_number(json!("hunter2")), "must be a whole number, not this text"),
            (of_number(json!(1.5)), "must be a whole number, not a number with a fraction"),
            (of_number(json!(u64::MAX)), "must be a whole number, not a number of that size"),
            (of_number(json!(1e300)), "must be a whole number, not a number of that size"),
            (
                not_expected::<usize>(&json!(-1)),
                "must be a whole number from 0 on, not a negative number",
            ),
            (not_expected::<bool>(&json!({})), "must be true or false, not an object"),
            (
                not_expected::<Status>(&json!([])),
                "must be one of pending, in-progress, completed, not an array",
            ),
            (
                not_expected::<Role>(&json!("x")),
                "must be one of member, viewer, admin, not this text",
            ),
        ] {
            assert_eq!(said, wanted);
        }
    }

    /// Each rule that is used in a DTO, with a value that breaks it.
    #[derive(Validate)]
    struct Ruled {
        #[garde(length(chars, min = 8))]
        short: String,
        #[garde(length(chars, min = 1))]
        empty: String,
        #[garde(length(chars, max = 2))]
        long: String,
        #[garde(range(min = 1))]
        low: i64,
        #[garde(range(max = 1))]
        high: i64,
        #[garde(email)]
        email: String,
    }

    #[test]
    fn each_rule_of_the_library_is_said_in_our_words() {
        let ruled = Ruled {
            short: "x".into(),
            empty: String::new(),
            long: "xxx".into(),
            low: 0,
            high: 2,
            email: "x".into(),
        };
        let report = ruled.validate().unwrap_err();
        let mut said: Vec<String> = report
            .iter()
            .map(|(path, error)| format!("{path} {}", plain(error.message())))
            .collect();
        said.sort();
        assert_eq!(
            said,
            [
                "email must be an e-mail address such as ada@example.com",
                "empty must not be empty",
                "high must be 1 or less",
                "long must have 2 characters at most",
                "low must be 1 or more",
                "short must have at least 8 characters",
            ]
        );
    }
}
