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
    /// Which of the effect's targets.
    pub target: Target,
}

/// One of the targets that an effect has for an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(Option<Arc<str>>);

/// How long the name of a target may be, in characters: it is part of an index row.
const LONGEST_TARGET: usize = 200;

impl Target {
    /// The only target of an effect that has no more.
    pub const ONLY: Target = Target(None);

    /// One of several, by its name. `None` if that can't be part of a key: it has 1 to 200
    /// characters, and no control characters.
    pub fn named(name: &str) -> Option<Target> {
        let fits = (1..=LONGEST_TARGET).contains(&name.chars().count());
        (fits && !name.chars().any(char::is_control)).then(|| Target(Some(name.into())))
    }

    /// The name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl EffectKey {
    /// The key of an effect that has one target for each event.
    pub const fn only(effect: &'static str) -> EffectKey {
        EffectKey { effect, target: Target::ONLY }
    }
}

/// Writes the key as it is stored in the database and in histories: `NAME` or `NAME/TARGET`.
impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.effect)?;
        match self.target.name() {
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
        let to = |target| EffectKey { effect: "webhook", target: Target::named(target).unwrap() };
        for (key, text) in [
            (EffectKey::only("email"), "email"),
            (to("7"), "webhook/7"),
            (to("a/b"), "webhook/a/b"),
        ] {
            assert_eq!(key.to_string(), text);
            assert_eq!(split_key(text), (key.effect, key.target.name()));
        }
    }

    #[test]
    fn a_target_is_short_and_printable() {
        assert!(Target::named(&"é".repeat(LONGEST_TARGET)).is_some());
        for bad in ["", "a\0", "a\nb", &"a".repeat(LONGEST_TARGET + 1)] {
            assert_eq!(Target::named(bad), None, "{bad:?}");
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
