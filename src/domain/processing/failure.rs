//! Why the work for an event was not done: one type, from where it happens to the route that its
//! message takes.

use std::fmt;
use std::time::Duration;

use crate::domain::processing::effect::EffectKey;

/// What went wrong, and whether another attempt may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure, which alone decides the route.
    pub class: Class,
    /// The effect that failed; `None` if the message itself is at fault.
    pub effect: Option<EffectKey>,
    /// What happened, for people. It may quote another system, and never holds a secret.
    pub message: String,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Another attempt may work.
    Transient,
    /// No attempt will ever work.
    Permanent,
    /// Nothing has failed, but the effect can't run yet: another worker has leased it, or a limit
    /// is reached. The time is how long that lasts at most.
    Waiting(Duration),
    /// The effect may not run for now. The message is parked in the database.
    Held(Hold),
    /// The message can't be read as an event.
    Malformed,
    /// The message isn't signed by this installation.
    NotOurs,
}

/// How a message is parked in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hold {
    /// How long it stays there at least; zero if only a gate keeps it.
    pub at_least: Duration,
    /// Whether it has its turn then, under the effect's rate.
    pub has_turn: bool,
}

impl Failure {
    fn new(class: Class, message: impl Into<String>) -> Failure {
        Failure { class, effect: None, message: message.into() }
    }

    /// A failure that may pass.
    pub fn transient(message: impl Into<String>) -> Failure {
        Failure::new(Class::Transient, message)
    }

    /// A failure that will not pass.
    pub fn permanent(message: impl Into<String>) -> Failure {
        Failure::new(Class::Permanent, message)
    }

    /// An effect has to wait for at most this long before it can run, for this reason.
    pub fn waiting(at_most: Duration, why: impl Into<String>) -> Failure {
        Failure::new(Class::Waiting(at_most), why)
    }

    /// An effect may not run for now, for this reason.
    pub fn held(hold: Hold, why: impl Into<String>) -> Failure {
        Failure::new(Class::Held(hold), why)
    }

    /// A message can't be read.
    pub fn malformed(message: impl Into<String>) -> Failure {
        Failure::new(Class::Malformed, message)
    }

    /// A message isn't believed.
    pub fn not_ours() -> Failure {
        let message =
            "it has no signature of this installation, or was changed after it was signed";
        Failure::new(Class::NotOurs, message)
    }

    /// The same failure, with its effect.
    pub fn of(self, effect: EffectKey) -> Failure {
        Failure { effect: Some(effect), ..self }
    }

    /// How the effect is held, if it is.
    pub fn hold(&self) -> Option<Hold> {
        match self.class {
            Class::Held(hold) => Some(hold),
            _ => None,
        }
    }

    /// Whether this is a failed attempt, which goes into the message's history.
    pub fn is_failed_attempt(&self) -> bool {
        !matches!(self.class, Class::Waiting(_) | Class::Held(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.effect {
            Some(effect) => write!(f, "{effect}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The failures that an attempt left: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    first: Failure,
    rest: Vec<Failure>,
}

impl Failures {
    /// Collects failures; `None` if there are none.
    pub fn of(failures: impl IntoIterator<Item = Failure>) -> Option<Failures> {
        let mut failures = failures.into_iter();
        Some(Failures { first: failures.next()?, rest: failures.collect() })
    }

    /// Each of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// How the message is parked if it has to be: the longest of its holds.
    pub fn hold(&self) -> Option<Hold> {
        self.iter().filter_map(Failure::hold).max_by_key(|hold| hold.at_least)
    }

    /// The class that decides the route. Failures that may pass come before those that will not: a
    /// message becomes a dead letter only when all that is left will never work.
    pub fn deciding(&self) -> Class {
        let rank = |class: Class| match class {
            Class::NotOurs => (5, Duration::ZERO),
            Class::Malformed => (4, Duration::ZERO),
            Class::Transient => (3, Duration::ZERO),
            Class::Waiting(at_most) => (2, at_most),
            Class::Held(hold) => (1, hold.at_least),
            Class::Permanent => (0, Duration::ZERO),
        };
        let rest = self.rest.iter().map(|failure| failure.class);
        rest.fold(self.first.class, |one, other| if rank(other) > rank(one) { other } else { one })
    }
}

impl From<Failure> for Failures {
    fn from(first: Failure) -> Failures {
        Failures { first, rest: Vec::new() }
    }
}

/// What has failed, without what only has to wait.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.iter().filter(|failure| failure.is_failed_attempt());
        let texts: Vec<String> = failed.map(Failure::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}
