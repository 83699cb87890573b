//! Leaving alone for a while what has just failed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long, so that not every request waits for what is away.
const BREAK: Duration = Duration::from_secs(1);

/// Remembers a failure for a second.
#[derive(Default)]
pub struct Breaker {
    broken_until: Mutex<Option<Instant>>,
}

/// Whether to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// It works as far as is known.
    Closed,
    /// It has failed just now: better not.
    Broken,
    /// It failed a while ago: this is the first try since.
    TriedAgain,
}

impl Breaker {
    /// Whether to ask.
    pub fn circuit(&self) -> Circuit {
        let mut broken = self.broken_until.lock().unwrap_or_else(PoisonError::into_inner);
        match *broken {
            Some(until) if Instant::now() < until => Circuit::Broken,
            Some(_) => {
                *broken = None;
                Circuit::TriedAgain
            }
            None => Circuit::Closed,
        }
    }

    /// It has failed. Whether that is news.
    pub fn failed(&self) -> bool {
        let mut broken = self.broken_until.lock().unwrap_or_else(PoisonError::into_inner);
        broken.replace(Instant::now() + BREAK).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_once_and_is_not_asked_about_meanwhile() {
        let breaker = Breaker::default();
        assert_eq!(breaker.circuit(), Circuit::Closed);
        assert!(breaker.failed() && !breaker.failed());
        assert_eq!(breaker.circuit(), Circuit::Broken);
        *breaker.broken_until.lock().unwrap() = Some(Instant::now());
        assert_eq!(breaker.circuit(), Circuit::TriedAgain);
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }
}
