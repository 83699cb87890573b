//! Writes times fast, where there are many: RFC 3339 in UTC, as chrono's own serializer writes it.
//!
//! chrono's serializer passes its digits two by two to the JSON writer, which checks each for what
//! to escape, and it computes the day of the year on the way. Here a time is written as one text,
//! which is several times as fast.

use std::time::SystemTime;

use chrono::{DateTime, Datelike, Utc};
use humantime::{
    format_rfc3339_micros, format_rfc3339_millis, format_rfc3339_nanos, format_rfc3339_seconds,
};
use serde::{Serialize, Serializer};

/// Serializes a time. For `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    // The formatter knows no other years.
    if !(1970..=9999).contains(&at.year()) {
        return at.serialize(serializer);
    }
    let (time, nanos) = (SystemTime::from(*at), at.timestamp_subsec_nanos());
    // As few digits as possible, in groups of three.
    if nanos % 1_000 != 0 {
        serializer.collect_str(&format_rfc3339_nanos(time))
    } else if nanos % 1_000_000 != 0 {
        serializer.collect_str(&format_rfc3339_micros(time))
    } else if nanos != 0 {
        serializer.collect_str(&format_rfc3339_millis(time))
    } else {
        serializer.collect_str(&format_rfc3339_seconds(time))
    }
}

/// Serializes a time or null. For `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_option<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serialize(at, serializer),
        None => serializer.serialize_none(),
    }
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
