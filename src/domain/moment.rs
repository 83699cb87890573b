//! How a time is written, where many are: RFC 3339 in UTC, as chrono's own serializer has it.
//!
//! That one hands its digits to the JSON writer two by two, which looks at each for what it has to
//! escape; here they come as one text.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A time. To be named in `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(at))
}

/// A time or null. To be named in `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_option<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.as_ref().map(text).serialize(serializer)
}

fn text(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_written_as_chrono_writes_it(
            seconds in -80_000_000_000_i64..300_000_000_000,
            nanos in prop_oneof![Just(0), Just(5_000_000), Just(1_000), 0_u32..1_000_000_000],
        ) {
            let at = DateTime::<Utc>::from_timestamp(seconds, nanos).unwrap();
            let mut json = Vec::new();
            serialize(&at, &mut serde_json::Serializer::new(&mut json)).unwrap();
            prop_assert_eq!(&json, &serde_json::to_vec(&at).unwrap());
            let mut json = Vec::new();
            serialize_option(&Some(at), &mut serde_json::Serializer::new(&mut json)).unwrap();
            prop_assert_eq!(json, serde_json::to_vec(&at).unwrap());
        }
    }

    #[test]
    fn no_time_is_null() {
        let mut json = Vec::new();
        serialize_option(&None, &mut serde_json::Serializer::new(&mut json)).unwrap();
        assert_eq!(json, b"null");
    }
}
