//! Parsing of values. Each error message says in plain words what the variable takes.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lettre::message::Mailbox;

/// A hundred years: far below the limits of clocks and databases.
const LONGEST: Duration = Duration::from_secs(36_525 * 24 * 3600);

/// Parses a duration such as `90s` or `30d`, above zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(d) if d.is_zero() => Err("must be longer than zero".into()),
        Ok(d) if d > LONGEST => Err("must be 36525d at most".into()),
        Ok(d) => Ok(d),
        // The library counts bytes, which says less than an example.
        Err(_) => Err("must be a duration such as 90s or 30d".into()),
    }
}

/// Parses a time: in RFC 3339, or as how long ago it was.
pub fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.with_timezone(&Utc));
    }
    let ago = duration(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
    ago.and_then(|ago| Utc::now().checked_sub_signed(ago)).ok_or_else(|| {
        "must be a time such as 2026-01-31T14:00:00Z, or how long ago it was, such as 2h".to_owned()
    })
}

/// Parses a whole number in this range.
pub fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.ok_or_else(|| {
            format!("must be a whole number from {} to {}", range.start(), range.end())
        })
    }
}

/// Longer than any name that a person would read.
const NAME_BYTES: usize = 200;

/// Parses a name that is used in logs, keys and records.
pub fn name(text: &str) -> Result<String, String> {
    let printable = !text.chars().any(char::is_control) && !text.trim().is_empty();
    if !printable || text.len() > NAME_BYTES {
        return Err(format!("must have 1 to {NAME_BYTES} bytes, and no control characters"));
    }
    Ok(text.to_owned())
}

/// Parses the path of a file or directory, which need not exist.
pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.trim().is_empty() {
        return Err("is empty: give it a value or unset it".into());
    }
    if text.chars().any(char::is_control) {
        return Err("must be a path without control characters".into());
    }
    Ok(PathBuf::from(text))
}

/// Parses the sender of mail.
pub fn mailbox(text: &str) -> Result<Mailbox, String> {
    let wrong = |_| "must be an address such as taskd@example.com, or taskd <taskd@example.com>";
    if text.chars().any(char::is_control) {
        return Err("must have no control characters".into());
    }
    text.parse().map_err(wrong).map_err(str::to_owned)
}

/// Parses an address to listen on, or resolves a name. Of several addresses it takes the first of
/// IPv4.
pub fn host(text: &str) -> Result<IpAddr, String> {
    let wrong = || {
        "must be an address such as 127.0.0.1, or 0.0.0.0 for every one of this machine, or a name that \
         has an address"
    };
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    resolve((text, 0)).map(|address| address.ip()).ok_or_else(|| wrong().to_owned())
}

/// The same with a port.
pub fn host_and_port(text: &str) -> Result<SocketAddr, String> {
    let wrong = "must be an address and a port such as 127.0.0.1:9464, or a name that has an address \
                 and a port";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (name, port) = text.rsplit_once(':').ok_or(wrong)?;
    let port = whole(0..=u16::MAX)(port).map_err(|_| wrong)?;
    resolve((name, port)).ok_or_else(|| wrong.to_owned())
}

fn resolve(named: (&str, u16)) -> Option<SocketAddr> {
    // An empty name would resolve to all addresses.
    if named.0.is_empty() || named.0.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let found: Vec<SocketAddr> = named.to_socket_addrs().ok()?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

/// Parses `NO_DECLARE`. A flag has no value name, so clap's error would not name the variable.
pub fn no_declare(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "NO_DECLARE must be true or false".to_owned())
}

/// The value of a variable that other programs use too: shells, compilers and desktops set it to
/// something else. It is used if it can only be meant for taskd, and ignored otherwise.
pub fn shared<T>(name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let value = std::env::var_os(name)?;
    let meant = value.to_str().and_then(read);
    if meant.is_none() {
        // The value isn't shown: it may be another program's secret.
        tracing::warn!(
            "{name} is not meant for taskd, it seems, and is passed over: set TASKD_{name}"
        );
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_in_their_range() {
        let port = whole(0..=u16::MAX);
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
        for bad in ["", "x", "-1", "+1", "65536", "1.5", " 1", "99999999999999999999"] {
            assert_eq!(port(bad).unwrap_err(), "must be a whole number from 0 to 65535", "{bad}");
        }
    }

    #[test]
    fn names_and_addresses_resolve() {
        assert_eq!(host("localhost").unwrap().to_string(), "127.0.0.1");
        assert_eq!(host("[::1]").unwrap().to_string(), "::1");
        assert_eq!(host_and_port("localhost:0").unwrap().to_string(), "127.0.0.1:0");
        assert_eq!(host_and_port("[::1]:7").unwrap().to_string(), "[::1]:7");
        for bad in ["", " ", "x86_64-conda-linux-gnu-", "a b", "\u{1}"] {
            assert!(host(bad).unwrap_err().contains("0.0.0.0"), "{bad:?}");
        }
        for bad in ["", "9464", "localhost", "localhost:", "localhost:x", ":9464"] {
            assert!(host_and_port(bad).unwrap_err().contains("127.0.0.1:9464"), "{bad:?}");
        }
    }

    #[test]
    fn other_values_are_checked() {
        assert!(name("a b").is_ok() && path("a b").is_ok() && duration("36525d").is_ok());
        for bad in ["", " ", "a\nb", "\u{1}"] {
            assert!(name(bad).is_err() && path(bad).is_err() && mailbox(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "0s", "soon", "-1s", "101y", "99999999999999999999y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let hour = Utc::now() - since("1h").unwrap();
        assert!((3590..=3600).contains(&hour.num_seconds()));
        assert_eq!(
            since("2026-01-31T14:00:00+01:00").unwrap().to_rfc3339(),
            "2026-01-31T13:00:00+00:00"
        );
        assert!(since("yesterday").is_err());
        assert_eq!(duration("soon").unwrap_err(), "must be a duration such as 90s or 30d");
        assert!(name(&"x".repeat(201)).is_err());
        assert!(mailbox("nobody").unwrap_err().contains("taskd@example.com"));
    }
}
