//! Which web pages may use the API (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! CORS only restrains browsers; it grants nobody access. There are no cookies, so credentialed
//! requests are not allowed: a page sends its token in a header.

use std::str::FromStr;

use actix_cors::Cors;
use url::Url;

/// The origins whose pages may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All origins.
    Any,
    /// These origins, such as `https://app.example.com`.
    These(Vec<String>),
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Origins, String> {
        if text.trim() == "*" {
            return Ok(Origins::Any);
        }
        text.split(',')
            .map(|origin| exact(origin.trim()))
            .collect::<Result<_, _>>()
            .map(Origins::These)
    }
}

impl Origins {
    /// Whether pages of this origin may use the API.
    pub fn have(&self, origin: &str) -> bool {
        match self {
            Origins::Any => true,
            Origins::These(origins) => origins.iter().any(|known| known == origin),
        }
    }
}

/// Checks that an origin is written as a browser sends it, because the two are compared letter by
/// letter.
fn exact(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no origin such as https://app.example.com, nor *");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let origin = url.origin().ascii_serialization();
    // A wildcard within a host would be taken for a letter.
    if !["http", "https"].contains(&url.scheme()) || text.contains('*') {
        return Err(wrong());
    }
    if origin != text {
        return Err(format!("{text:?} is no origin: a browser would send {origin:?}"));
    }
    Ok(origin)
}

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// The headers that a page may send in addition to the safelisted ones.
const SENT: [&str; 6] = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-Id",
];
/// The headers that a page may read in addition to the safelisted ones.
const READ: [&str; 11] = [
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Taskd-Cleared",
    "X-Request-Id",
];
/// How long a browser may cache a preflight, in seconds.
const REMEMBERED_SECONDS: usize = 3600;

/// Answers preflights, and marks each response with the origin that may read it.
pub(in crate::http) fn cors(origins: Option<&Origins>) -> Cors {
    let cors = Cors::default()
        .allowed_methods(METHODS)
        .allowed_headers(SENT)
        .expose_headers(READ)
        .max_age(REMEMBERED_SECONDS);
    match origins {
        None => cors,
        Some(Origins::Any) => cors.allow_any_origin().send_wildcard(),
        Some(Origins::These(origins)) => {
            origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_origins_are_taken() {
        assert_eq!("*".parse(), Ok(Origins::Any));
        let two = "https://a.example, http://localhost:5173".parse();
        let these = ["https://a.example", "http://localhost:5173"].map(str::to_owned);
        assert_eq!(two, Ok(Origins::These(these.to_vec())));
        for wrong in [
            "",
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://*.a.example",
            "https://A.example",
            "https://a.example:443",
            "https://u@a.example",
            "ftp://a.example",
            "null",
            "https://a.example,",
            "*,https://a.example",
        ] {
            assert!(wrong.parse::<Origins>().is_err(), "{wrong}");
        }
    }
}
