//! A fault: one wrong part of a request.

use serde::Serialize;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The part of the request that it is in.
    pub r#in: RequestPart,
    /// A JSON pointer (RFC 6901) to it; for a parameter or a header, `/` and its name.
    pub pointer: String,
    /// What is wrong, in words that follow the name.
    pub message: String,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named like the parts")]
pub enum RequestPart {
    Body,
    Query,
    Path,
    Header,
}

impl Fault {
    /// A fault of the member, parameter or header of that name.
    pub fn new(part: RequestPart, name: &str, message: impl Into<String>) -> Fault {
        // RFC 6901, section 3.
        let name = name.replace('~', "~0").replace('/', "~1");
        Fault { r#in: part, pointer: format!("/{name}"), message: message.into() }
    }
}

/// The first fault in words, and the number of the others.
pub(super) fn summary(faults: &[Fault]) -> String {
    let Some(first) = faults.first() else { return "the request is not valid".to_owned() };
    let name = first.pointer.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
    let what = match (first.r#in, name.as_str()) {
        (RequestPart::Body, "") => "the body".to_owned(),
        (RequestPart::Body, name) => name.to_owned(),
        (RequestPart::Query, name) => format!("the parameter {name}"),
        (RequestPart::Path, name) => format!("{name} in the path"),
        (RequestPart::Header, name) => format!("the header {name}"),
    };
    let more = match faults.len() {
        1 => String::new(),
        count => format!("; {} more under errors", count - 1),
    };
    format!("{what} {}{more}", first.message)
}
