//! The names of effects, and the keys of their work.

use std::fmt;
use std::sync::Arc;

/// Separates the name of an effect from its target.
const SEPARATOR: char = '/';

/// Identifies an effect for one of its targets. With an event's id it is the idempotency key of the
/// work; records, claims and histories are kept under it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectKey {
    /// The effect's name, which labels metrics.
    pub effect: &'static str,
    /// The target, if the effect can have more than one for an event.
    pub target: Option<Arc<str>>,
}

impl EffectKey {
    /// The key of an effect that has one target for each event.
    pub const fn only(effect: &'static str) -> EffectKey {
        EffectKey { effect, target: None }
    }

    /// The key of one target of an effect.
    pub fn to(effect: &'static str, target: impl Into<Arc<str>>) -> EffectKey {
        EffectKey { effect, target: Some(target.into()) }
    }
}

/// Writes the key as it is stored in the database and in histories: `NAME` or `NAME/TARGET`.
impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.effect)?;
        match &self.target {
            Some(target) => write!(f, "{SEPARATOR}{target}"),
            None => Ok(()),
        }
    }
}

/// Splits the text of a key into the name and the target.
pub fn split_key(text: &str) -> (&str, Option<&str>) {
    match text.split_once(SEPARATOR) {
        Some((name, target)) => (name, Some(target)),
        None => (text, None),
    }
}

/// Whether an effect may have this name: it becomes part of keys, labels and options.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for (key, text) in [
            (EffectKey::only("email"), "email"),
            (EffectKey::to("webhook", "7"), "webhook/7"),
            (EffectKey::to("webhook", "a/b"), "webhook/a/b"),
            (EffectKey::to("webhook", ""), "webhook/"),
        ] {
            assert_eq!(key.to_string(), text);
            assert_eq!(split_key(text), (key.effect, key.target.as_deref()));
        }
    }

    #[test]
    fn a_name_has_no_character_that_a_key_or_an_option_means_something_by() {
        assert!(is_name("email") && is_name("search-index") && is_name("v2_mail"));
        for bad in ["", "a/b", "a=b", "a,b", "Email", "e mail", "é"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
