//! What dead letters of one cause have in common.

use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest, Sha256};

/// How long a pattern is, in characters.
const PATTERN_CHARS: usize = 300;
/// How many hexadecimal digits of its hash a fingerprint has.
const DIGITS: usize = 16;

/// An error without what differs from one letter to the next: e-mail addresses, network addresses,
/// ids and numbers.
pub(super) fn pattern(error: &str) -> String {
    #[expect(clippy::expect_used, reason = "a constant, which a test reads")]
    static PARTS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let part = |pattern: &str| Regex::new(pattern).expect("a regular expression");
        [
            (part(r#"[^\s<>()\[\]"'`,;:=]+@[^\s<>()\[\]"'`,;:=]+\b"#), "<address>"),
            (part(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
            (
                part(
                    r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b(?:0x)?[0-9a-f]*(?:[0-9][a-f]|[a-f][0-9])[0-9a-f]{6,}\b",
                ),
                "<id>",
            ),
            (part(r"\d+"), "<n>"),
        ]
    });
    let mut text = error.to_owned();
    for (part, placeholder) in PARTS.iter() {
        text = part.replace_all(&text, *placeholder).into_owned();
    }
    text.chars().take(PATTERN_CHARS).collect()
}

/// The fingerprint of a cause: the same in every version.
pub(super) fn fingerprint(
    effect: Option<&str>,
    event_type: Option<&str>,
    reason: &str,
    pattern: &str,
) -> String {
    let mut hash = Sha256::new();
    for part in [effect.unwrap_or_default(), event_type.unwrap_or_default(), reason, pattern] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_cause_have_one_pattern() {
        for (one, other, expected) in [
            (
                "550 5.1.1 <ann@example.com>: no such user 17",
                "550 5.1.1 <bob.b@mail.example.org>: no such user 4",
                "<n> <n>.<n>.<n> <<address>>: no such user <n>",
            ),
            (
                "event 01a20c26-baf3-7396-8c9e-8c32b8533154 has no task",
                "event 01A20C26-BAF3-7396-8C9E-8C32B8533155 has no task",
                "event <id> has no task",
            ),
            ("can't reach 10.0.0.7:25", "can't reach 192.168.1.20:2525", "can't reach <address>"),
            ("queue id 4f2a9c01bd failed", "queue id 77b1e2c9aa failed", "queue id <id> failed"),
        ] {
            assert_eq!(pattern(one), expected);
            assert_eq!(pattern(other), expected);
        }
        assert_eq!(pattern("deadline is over"), "deadline is over");
        assert_eq!(pattern(&"é".repeat(1_000)).chars().count(), PATTERN_CHARS);
    }

    #[test]
    fn a_fingerprint_tells_causes_apart() {
        let of = |effect| fingerprint(effect, Some("TASK_CREATED"), "permanent-failure", "<n> no");
        assert_eq!(of(Some("email")), of(Some("email")));
        assert_ne!(of(Some("email")), of(None));
        assert_eq!(of(None).len(), DIGITS);
        assert_ne!(fingerprint(None, None, "a", "b"), fingerprint(None, None, "", "ab"));
    }
}
