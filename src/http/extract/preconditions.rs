//! `If-Match` and `If-None-Match` (RFC 9110, section 13), compared with a version. Our entity tags
//! are strong: the version in quotes.

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use actix_web::{FromRequest, HttpRequest};
use paperclip::actix::OperationModifier;
use paperclip::v2::schema::Apiv2Schema;
use std::future::{Ready, ready};

use crate::http::error::{ApiError, Fault, RequestPart};

/// The conditions under which a request is to be carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// The result of checking the preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes on.
    Holds,
    /// The client of a read already has this version.
    NotModified,
    /// The version is not the one that the client expects.
    Failed,
}

impl Preconditions {
    /// Checks a read, in the order of section 13.2.2.
    pub fn of_read(&self, version: i64) -> Verdict {
        match (&self.if_match, &self.if_none_match) {
            (Some(tags), _) if !tags.strong_match(version) => Verdict::Failed,
            (_, Some(tags)) if tags.weak_match(version) => Verdict::NotModified,
            _ => Verdict::Holds,
        }
    }

    /// Checks a write, which is either carried out on this version or fails.
    pub fn of_write(&self, version: i64) -> Result<(), ApiError> {
        match self.of_read(version) {
            Verdict::Holds => Ok(()),
            Verdict::NotModified | Verdict::Failed => Err(ApiError::PreconditionFailed),
        }
    }
}

/// The value of either header.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: any version.
    Any,
    /// One of these tags.
    Listed(Vec<Tag>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: Vec<u8>,
}

impl Tags {
    /// Section 8.8.3.2: a weak tag never matches strongly, not even itself.
    fn strong_match(&self, version: i64) -> bool {
        self.has(version, |tag| !tag.weak)
    }

    fn weak_match(&self, version: i64) -> bool {
        self.has(version, |_| true)
    }

    fn has(&self, version: i64, counts: impl Fn(&Tag) -> bool) -> bool {
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => {
                let wanted = version.to_string();
                tags.iter().any(|tag| tag.opaque == wanted.as_bytes() && counts(tag))
            }
        }
    }
}

/// Reads a header's lines, which together are one list (section 5.3); `None` if they are not a list
/// of entity tags.
fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Tags> {
    let lines: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).collect();
    if lines == [b"*"] {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    for mut rest in lines {
        loop {
            // Empty elements are skipped (section 5.6.1.2).
            while let [b',' | b' ' | b'\t', after @ ..] = rest {
                rest = after;
            }
            if rest.is_empty() {
                break;
            }
            let (tag, after) = read_tag(rest)?;
            tags.push(tag);
            rest = after.trim_ascii_start();
            if !matches!(rest, [] | [b',', ..]) {
                return None;
            }
        }
    }
    (!tags.is_empty()).then_some(Tags::Listed(tags))
}

/// Reads one entity tag (section 8.8.3), and returns what follows it. A tag may contain commas.
fn read_tag(text: &[u8]) -> Option<(Tag, &[u8])> {
    let (weak, quoted) = match text {
        [b'W', b'/', quoted @ ..] => (true, quoted),
        quoted => (false, quoted),
    };
    let [b'"', inner @ ..] = quoted else { return None };
    let end = inner.iter().position(|byte| *byte == b'"')?;
    let (opaque, after) = (inner.get(..end)?, inner.get(end + 1..)?);
    let allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    opaque.iter().all(allowed).then(|| (Tag { weak, opaque: opaque.to_vec() }, after))
}

fn header(request: &HttpRequest, name: &HeaderName) -> Result<Option<Tags>, Fault> {
    if !request.headers().contains_key(name) {
        return Ok(None);
    }
    let tags = read(request.headers().get_all(name).map(|value| value.as_bytes()));
    let message =
        "must be * or a list of entity tags, such as \"1\", as they are in the ETag header";
    tags.map(Some).ok_or_else(|| Fault::new(RequestPart::Header, title(name), message))
}

fn title(name: &HeaderName) -> &'static str {
    if name == IF_MATCH { "If-Match" } else { "If-None-Match" }
}

impl FromRequest for Preconditions {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match (header(request, &IF_MATCH), header(request, &IF_NONE_MATCH)) {
            (Ok(if_match), Ok(if_none_match)) => Ok(Preconditions { if_match, if_none_match }),
            (one, other) => {
                Err(ApiError::Validation([one.err(), other.err()].into_iter().flatten().collect()))
            }
        })
    }
}

/// Which operation takes which header is in a table in `openapi`.
impl Apiv2Schema for Preconditions {}
impl OperationModifier for Preconditions {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(lines: &[&str]) -> Option<Tags> {
        read(lines.iter().map(|line| line.as_bytes()))
    }

    fn tag(weak: bool, opaque: &str) -> Tag {
        Tag { weak, opaque: opaque.into() }
    }

    #[test]
    fn lists_are_read_over_lines_and_with_commas_in_tags() {
        assert_eq!(tags(&[" * "]), Some(Tags::Any));
        let listed = [
            (&["\"1\""] as &[&str], vec![tag(false, "1")]),
            (&["W/\"1\",\"2\" ,\t\"3\""], vec![tag(true, "1"), tag(false, "2"), tag(false, "3")]),
            (&["\"a,b\"", "\"\""], vec![tag(false, "a,b"), tag(false, "")]),
            (&[", ,\"1\",, ", ""], vec![tag(false, "1")]),
            (&["\"é*\""], vec![tag(false, "é*")]),
        ];
        for (lines, wanted) in listed {
            assert_eq!(tags(lines), Some(Tags::Listed(wanted)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for lines in [
            &["1"] as &[&str],
            &[""],
            &[","],
            &["\"1"],
            &["1\""],
            &["w/\"1\""],
            &["W/1"],
            &["W/ \"1\""],
            &["\"1\" \"2\""],
            &["\"1\"2"],
            &["\"a b\""],
            &["\"a\u{7f}\""],
            &["*, \"1\""],
            &["*", "*"],
            &["\"1\"", "*"],
        ] {
            assert_eq!(tags(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn if_match_compares_strongly_and_if_none_match_weakly() {
        let read = |if_match: Option<&str>, if_none_match: Option<&str>| {
            let read = |text: &str| tags(&[text]).unwrap();
            Preconditions { if_match: if_match.map(read), if_none_match: if_none_match.map(read) }
        };
        for (if_match, if_none_match, verdict) in [
            (None, None, Verdict::Holds),
            (Some("*"), None, Verdict::Holds),
            (Some("\"7\""), None, Verdict::Holds),
            (Some("\"6\", \"7\""), None, Verdict::Holds),
            (Some("W/\"7\""), None, Verdict::Failed),
            (Some("\"07\""), None, Verdict::Failed),
            (Some("\"6\", \"8\""), None, Verdict::Failed),
            (None, Some("*"), Verdict::NotModified),
            (None, Some("W/\"7\""), Verdict::NotModified),
            (None, Some("\"1\", \"7\""), Verdict::NotModified),
            (None, Some("\"77\""), Verdict::Holds),
            // If-Match is checked first.
            (Some("\"6\""), Some("\"7\""), Verdict::Failed),
            (Some("\"7\""), Some("\"7\""), Verdict::NotModified),
        ] {
            let preconditions = read(if_match, if_none_match);
            assert_eq!(preconditions.of_read(7), verdict, "{if_match:?} {if_none_match:?}");
            assert_eq!(preconditions.of_write(7).is_ok(), verdict == Verdict::Holds);
        }
    }
}
