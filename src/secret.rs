//! Texts that must not be printed.

use std::fmt;
use std::str::FromStr;

/// A text that may hold a password: it can be used, but not printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// This text, from now on unprintable.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Secret, Self::Err> {
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL as it may be logged: the password, and any in the query, replaced by `***`.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".into() };
    let (authority, tail) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => authority.to_owned(),
    };
    let tail = match tail.split_once('?') {
        Some((path, query)) if query.to_ascii_lowercase().contains("password") => {
            format!("{path}?***")
        }
        _ => tail.to_owned(),
    };
    format!("{scheme}://{authority}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_url_has_no_password() {
        for (url, logged) in [
            ("postgres://u:p@h:1/d", "postgres://u:***@h:1/d"),
            ("postgres://u:p%40@@h/d", "postgres://u:***@h/d"),
            ("redis://:p@h/0", "redis://:***@h/0"),
            ("postgres://h/d?user=u&password=p", "postgres://h/d?***"),
            ("postgres://h/d?sslmode=disable", "postgres://h/d?sslmode=disable"),
            ("u:p@h", "***"),
        ] {
            assert_eq!(without_password(url), logged);
        }
        assert_eq!(format!("{:?}", Secret("p".into())), "***");
    }
}
