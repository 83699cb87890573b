//! Reads the URLs of services (RFC 3986), all in the same way. No error repeats what may be a
//! password.

use std::fmt;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};

/// A URL in its parts, percent-decoded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServiceUrl {
    /// In lower case.
    pub scheme: String,
    /// `None` if it is absent or empty.
    pub user: Option<String>,
    /// `None` if it is absent; an empty password is a password.
    pub password: Option<String>,
    /// Each host with its port, if it has one. An IPv6 address has no brackets.
    pub hosts: Vec<(String, Option<u16>)>,
    /// Without the first slash; empty if there is none.
    pub path: String,
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
}

/// Which characters must be encoded, for error messages.
const ENCODED: &str = "in a user name, a password, the path and parameters, / is written %2F, ? %3F, # %23, @ %40 \
                       and % %25";

impl ServiceUrl {
    /// Reads a URL with one of these schemes. `example` is for error messages.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str, schemes: &[&str], example: &str) -> Result<ServiceUrl, String> {
        // A secret that is read from a file ends in a newline.
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("is not a URL: it must be like {example}"));
        };
        let scheme = scheme.to_ascii_lowercase();
        if !schemes.contains(&scheme.as_str()) {
            let known = schemes.join(" or ");
            return Err(format!("the scheme must be {known}, not {scheme:?}: such as {example}"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("has a space or a control character: a space is written %20".into());
        }
        let (user, password, rest) = match end_of_user(rest) {
            None => (None, None, rest),
            Some(at) => {
                let (user, password) = match rest[..at].split_once(':') {
                    Some((user, password)) => (user, Some(decode(password, "password")?)),
                    None => (&rest[..at], None),
                };
                (Some(decode(user, "user name")?), password, &rest[at + 1..])
            }
        };
        let (hosts, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // What precedes it may be part of a password.
        if tail.contains('@') || tail.contains('#') {
            return Err(format!("can't be told apart into its parts: {ENCODED}"));
        }
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (tail, None),
        };
        let path = path.strip_prefix('/').unwrap_or_default();
        if path.contains('/') {
            return Err(format!("has more than one / after the host: {ENCODED}"));
        }
        let parameters = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let parameters = parameters.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name, "name of a parameter")?, decode(value, "value of a parameter")?))
        });
        Ok(ServiceUrl {
            scheme,
            user: user.filter(|user| !user.is_empty()),
            password,
            hosts: hosts_of(hosts)?,
            path: decode(path, "path")?,
            parameters: parameters.collect::<Result<_, String>>()?,
        })
    }

    /// The one host, if there is one.
    ///
    /// # Errors
    /// There are several.
    pub fn host(&self) -> Result<Option<(&str, Option<u16>)>, String> {
        match self.hosts.as_slice() {
            [] => Ok(None),
            [(host, port)] => Ok(Some((host, *port))),
            _ => Err("names more than one host".into()),
        }
    }

    /// The URL as a text, encoded wherever that can matter.
    pub fn encoded(&self) -> String {
        let password = self.password.as_ref().map(|password| encode(password));
        self.text(password.as_deref(), |_, value| encode(value))
    }

    fn text(&self, password: Option<&str>, value: impl Fn(&str, &str) -> String) -> String {
        let mut text = format!("{}://", self.scheme);
        if self.user.is_some() || password.is_some() {
            text.push_str(&encode(self.user.as_deref().unwrap_or_default()));
            if let Some(password) = password {
                text.push(':');
                text.push_str(password);
            }
            text.push('@');
        }
        let hosts = self.hosts.iter().map(|(host, port)| {
            let host = match host.contains(':') {
                true => format!("[{host}]"),
                false => utf8_percent_encode(host, IN_HOST).to_string(),
            };
            port.map_or(host.clone(), |port| format!("{host}:{port}"))
        });
        text.push_str(&hosts.collect::<Vec<_>>().join(","));
        if !self.path.is_empty() {
            text.push('/');
            text.push_str(&encode(&self.path));
        }
        for (index, (name, given)) in self.parameters.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(&format!("{}={}", encode(name), value(name, given)));
        }
        text
    }
}

/// Shows the URL without the password, and without any among the parameters.
impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.password.as_ref().map(|_| "***");
        let shown = self.text(hidden, |name, value| {
            let secret = name.to_ascii_lowercase().contains("pass");
            if secret { "***".to_owned() } else { encode(value) }
        });
        f.write_str(&shown)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// All but what need not be encoded anywhere.
const IN_TEXT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');
/// A host is shown as it is written; characters that would end it are encoded.
const IN_HOST: &AsciiSet =
    &CONTROLS.add(b' ').add(b'/').add(b'?').add(b'#').add(b'@').add(b'%').add(b',');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, IN_TEXT).to_string()
}

fn decode(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(digit(bytes.next()) && digit(bytes.next())) {
            return Err(format!(
                "the {what} has a % that begins no percent-encoding: it is written %25"
            ));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| format!("the {what} is not UTF-8 once percent-decoded"))?;
    if decoded.contains('\0') {
        return Err(format!("the {what} has a NUL character"));
    }
    Ok(decoded.into_owned())
}

/// The position of the @ that ends user name and password. They may have an @ themselves, and other
/// characters that should have been encoded, as long as it is clear what is meant.
fn end_of_user(rest: &str) -> Option<usize> {
    let last_at = |from: usize| {
        let end = rest[from..].find(['/', '?', '#']).map_or(rest.len(), |at| from + at);
        rest[from..end].rfind('@').map(|at| from + at)
    };
    let head = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match last_at(0) {
        Some(at) => Some(at),
        None if hosts_of(head).is_ok() => None,
        // The / ? or # belongs to the password.
        None => rest.find('@').map(|at| last_at(at).unwrap_or(at)),
    }
}

/// Reads hosts with their ports, separated by commas.
fn hosts_of(text: &str) -> Result<Vec<(String, Option<u16>)>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(host_of).collect()
}

fn host_of(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("none"))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let number = port.parse().ok().filter(|port| digits && *port > 0);
            Some(number.ok_or_else(|| {
                format!("the port must be a whole number from 1 to 65535; {ENCODED}")
            })?)
        }
    };
    let host = decode(host, "host")?;
    if host.is_empty() {
        return Err("names no host before a port or a comma".into());
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests;
