//! The syntax of the key.

use super::HEADER;
use crate::http::error::{Fault, RequestPart};

/// The longest key, in characters: as long as other APIs allow.
const KEY_CHARS: usize = 255;

/// Reads the header's lines. Each is a key in quotes (a string of RFC 8941, section 3.3.3) or bare.
pub(super) fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Option<String>, Fault> {
    let fault = |message: &str| Fault::new(RequestPart::Header, HEADER, message);
    let mut found: Option<String> = None;
    for line in lines {
        let key = unquoted(line.trim_ascii())
            .filter(|key| (1..=KEY_CHARS).contains(&key.len()))
            .ok_or_else(|| fault("must be 1 to 255 visible ASCII characters, in quotes or bare"))?;
        if found.replace(key.clone()).is_some_and(|other| other != key) {
            return Err(fault("is given more than once"));
        }
    }
    Ok(found)
}

fn unquoted(text: &[u8]) -> Option<String> {
    let text =
        std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_graphic()))?;
    let Some(inner) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut characters = inner.strip_suffix('"')?.chars();
    let mut key = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => key.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lines: &[&str]) -> Result<Option<String>, Fault> {
        read(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn a_key_is_read_in_quotes_and_bare() {
        let longest = "k".repeat(255);
        let quoted = format!("\"{longest}\"");
        for (lines, wanted) in [
            (&[] as &[&str], None),
            (
                &["8e03978e-40d5-43dd-bc93-6894a57f9324"],
                Some("8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ),
            (&["\"abc\""], Some("abc")),
            (&[" abc "], Some("abc")),
            (&["abc", "\"abc\""], Some("abc")),
            (&[r#""a\"b\\c""#], Some(r#"a"b\c"#)),
            (&[r"a\b"], Some(r"a\b")),
            (&[&longest], Some(&longest)),
            (&[&quoted], Some(&longest)),
        ] {
            assert_eq!(key(lines), Ok(wanted.map(str::to_owned)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for lines in [
            &[""] as &[&str],
            &["\"\""],
            &["\""],
            &["\"abc"],
            &["\"a\"b\""],
            &["\"a\\b\""],
            &["\"a\\"],
            &["\"abc\\\""],
            &["a b"],
            &["\"a b\""],
            &["é"],
            &["a\tb"],
            &[&long],
            &["a", "b"],
        ] {
            let fault = key(lines).unwrap_err();
            assert_eq!(
                (fault.r#in, fault.pointer.as_str()),
                (RequestPart::Header, "/Idempotency-Key")
            );
        }
    }
}
