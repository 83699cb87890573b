//! A circuit breaker: what has just failed is left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the circuit stays open, so that not every request waits for a dependency that is down.
const BREAK: Duration = Duration::from_secs(1);

/// Opens for a second after each failure.
#[derive(Default)]
pub struct Breaker {
    broken_until: Mutex<Option<Instant>>,
}

/// Whether to call the dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// No known failure: call it.
    Closed,
    /// It failed within the last second: don't call it.
    Broken,
    /// It failed earlier: this caller tries it again.
    TriedAgain,
}

impl Breaker {
    /// Whether to call the dependency now.
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

    /// Records a failure. Returns whether it is the first since the circuit was closed or retried.
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
