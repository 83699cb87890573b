//! Reading times.

use chrono::{DateTime, Datelike, Utc};

/// Parses an RFC 3339 time of the years 1 to 9999, to UTC. A leap second becomes the second after
/// it, as in PostgreSQL. Otherwise an answer and an event would differ from what is stored.
pub fn moment(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    let at = DateTime::from_timestamp_micros(at.timestamp_micros())?;
    storable(&at).then_some(at)
}

/// Whether PostgreSQL can store a time and RFC 3339 can write it.
pub fn storable(at: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}
