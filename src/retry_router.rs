//! Where a message goes that could not be processed: to a delay queue, or to the dead letters.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::authenticity::Authenticity;
use crate::broker::message::{self, Message, reason};
use crate::broker::{Broker, BrokerError, Destination, Outgoing};
use crate::domain::retry::{Cause, Death, Failure, LAST_ERROR_CHARS, RetryPolicy, Way, remember};
use crate::store::StoreError;

/// Why a message could not be processed.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// It is not signed by this installation, so nothing in it is believed.
    NotOurs,
    /// It will never be readable.
    Malformed(String),
    /// At least one effect failed for a reason that may pass.
    Transient(Vec<(&'static str, String)>),
    /// Effects failed for reasons that will not.
    Permanent(Vec<(&'static str, String)>),
    /// Another worker is at it, for so long at most, or it is not its turn for so long.
    Leased(Duration),
}

impl Trouble {
    fn cause(&self) -> Cause {
        match self {
            // No attempt will change what it is.
            Trouble::NotOurs | Trouble::Malformed(_) => Cause::Malformed,
            Trouble::Transient(_) => Cause::Transient,
            Trouble::Permanent(_) => Cause::Permanent,
            Trouble::Leased(remaining) => Cause::Leased(*remaining),
        }
    }
}

/// What is to be done with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// It waits, then comes as this attempt.
    Retry {
        /// For so long.
        after: Duration,
        /// The attempt's number.
        attempt: u32,
    },
    /// It waits and comes again; no attempt is counted.
    Park {
        /// For so long.
        after: Duration,
    },
    /// It is dead, for this reason.
    Dead {
        /// One of [`reason`].
        reason: &'static str,
        /// The last error.
        error: String,
    },
}

/// Sends messages on their way.
#[derive(Clone)]
pub struct RetryRouter {
    broker: Arc<dyn Broker>,
    authenticity: Authenticity,
    policy: RetryPolicy,
    worker: String,
}

impl RetryRouter {
    /// A router for a worker of this name; what it sends is signed as this installation's.
    pub fn new(
        broker: Arc<dyn Broker>,
        authenticity: Authenticity,
        policy: RetryPolicy,
        worker: &str,
    ) -> RetryRouter {
        RetryRouter { broker, authenticity, policy, worker: worker.to_owned() }
    }

    /// Publishes a copy to where it belongs. Only when this is `Ok` may the original be acked:
    /// the copy is then confirmed. With `recorded` the copy says that each effect of its event has
    /// a record, which must be so by now. A copy of what is not ours is not signed.
    ///
    /// # Errors
    /// The broker did not confirm.
    pub async fn send(
        &self,
        original: &Message,
        trouble: &Trouble,
        recorded: bool,
    ) -> Result<Route, BrokerError> {
        let (route, mut copy) = plan(&self.policy, &self.worker, original, trouble, Utc::now());
        if recorded {
            copy.set_recorded();
        }
        if !matches!(trouble, Trouble::NotOurs) {
            let authority = self.authenticity.authority().await;
            let away = |error: StoreError| BrokerError::Unavailable(error.to_string());
            authority.map_err(away)?.sign(&mut copy);
        }
        let to = match &route {
            Route::Retry { after, .. } | Route::Park { after } => Destination::Delay(*after),
            Route::Dead { .. } => Destination::DeadLetter,
        };
        let answers = self.broker.publish(vec![Outgoing { to, message: copy }]).await;
        match answers.into_iter().next() {
            Some(Ok(())) => Ok(route),
            Some(Err(error)) => Err(error),
            None => Err(BrokerError::Unavailable("no answer".into())),
        }
    }
}

/// Why a message is dead that is not ours.
const NOT_SIGNED: &str =
    "it has no signature of this installation, or was changed after it was signed";

/// The decision, and the copy that carries it.
fn plan(
    policy: &RetryPolicy,
    worker: &str,
    original: &Message,
    trouble: &Trouble,
    now: DateTime<Utc>,
) -> (Route, Message) {
    let attempt = original.attempt();
    let mut copy = original.copy();
    copy.headers.remove(message::SIGNATURE);
    let failures: &[(&str, String)] = match trouble {
        Trouble::Transient(failures) | Trouble::Permanent(failures) => failures,
        Trouble::NotOurs | Trouble::Malformed(_) | Trouble::Leased(_) => &[],
    };
    let last_error = || match (trouble, failures.last()) {
        (Trouble::NotOurs, _) => NOT_SIGNED.to_owned(),
        (Trouble::Malformed(error), _) => error.clone(),
        (_, Some((effect, error))) => format!("{effect}: {error}"),
        (_, None) => String::new(),
    };
    let route = match policy.way(attempt, trouble.cause()) {
        Way::Park { after } => return (Route::Park { after }, copy),
        Way::Retry { after, attempt } => Route::Retry { after, attempt },
        Way::Dead(death) => Route::Dead {
            reason: match death {
                Death::Malformed if matches!(trouble, Trouble::NotOurs) => reason::NOT_OURS,
                Death::Malformed => reason::MALFORMED,
                Death::Permanent => reason::PERMANENT,
                Death::Exhausted => reason::EXHAUSTED,
            },
            error: last_error(),
        },
    };
    let failed = |effect: Option<&str>, error: &str| Failure {
        attempt,
        worker: worker.to_owned(),
        at: now,
        effect: effect.map(str::to_owned),
        error: error.to_owned(),
    };
    let mut history = copy.history();
    match trouble {
        Trouble::NotOurs => remember(&mut history, failed(None, NOT_SIGNED)),
        Trouble::Malformed(error) => remember(&mut history, failed(None, error)),
        _ => {
            failures.iter().for_each(|(effect, e)| remember(&mut history, failed(Some(effect), e)))
        }
    }
    copy.set_history(&history);
    match &route {
        Route::Retry { attempt, .. } => copy.set_attempt(*attempt),
        Route::Dead { reason, error } => {
            copy.set_attempt(attempt);
            copy.set_text(message::DEAD_REASON, *reason);
            let mut whole = error.clone();
            if let Some((end, _)) = whole.char_indices().nth(LAST_ERROR_CHARS) {
                whole.truncate(end);
                whole.push('…');
            }
            copy.set_text(message::DEAD_ERROR, whole);
            copy.set_text(message::DEAD_AT, now.to_rfc3339());
            copy.set_text(message::DEAD_ID, Uuid::now_v7().to_string());
        }
        Route::Park { .. } => {}
    }
    (route, copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        "1s,5s".parse().unwrap()
    }

    fn failed(original: &Message, trouble: Trouble) -> (Route, Message) {
        plan(&policy(), "w1", original, &trouble, Utc::now())
    }

    #[test]
    fn a_message_walks_the_delays_and_then_dies_with_its_whole_history() {
        let mut message =
            Message { body: b"{}".to_vec(), message_id: Some("e".into()), ..Message::default() };
        message.set_text("tenant", "t");
        let error = || Trouble::Transient(vec![("email", "451 later".into())]);
        let mut routes = Vec::new();
        for _ in 0..3 {
            let (route, copy) = failed(&message, error());
            routes.push(route);
            message = copy;
        }
        assert_eq!(routes[0], Route::Retry { after: Duration::from_secs(1), attempt: 2 });
        assert_eq!(routes[1], Route::Retry { after: Duration::from_secs(5), attempt: 3 });
        assert_eq!(
            routes[2],
            Route::Dead { reason: reason::EXHAUSTED, error: "email: 451 later".into() }
        );
        let history = message.history();
        assert_eq!(history.iter().map(|f| f.attempt).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(history.iter().all(|f| f.worker == "w1" && f.effect.as_deref() == Some("email")));
        assert_eq!(message.attempt(), 3);
        assert_eq!(message.text("tenant"), Some("t"));
        assert_eq!(message.body, b"{}");
        assert!(
            message.text(message::DEAD_ID).is_some() && message.text(message::DEAD_AT).is_some()
        );
    }

    #[test]
    fn what_will_not_pass_is_dead_at_once() {
        let message = Message::default();
        let (route, copy) = failed(&message, Trouble::Malformed("not JSON".into()));
        assert_eq!(route, Route::Dead { reason: reason::MALFORMED, error: "not JSON".into() });
        assert_eq!(copy.history().len(), 1);
        let mut forged = message.clone();
        forged.set_text(message::SIGNATURE, "v1,forged");
        let (route, copy) = failed(&forged, Trouble::NotOurs);
        assert!(matches!(route, Route::Dead { reason: "not ours", .. }), "{route:?}");
        assert_eq!(copy.text(message::SIGNATURE), None);
        let (route, _) = failed(&message, Trouble::Permanent(vec![("email", "550 no".into())]));
        assert!(matches!(route, Route::Dead { reason: reason::PERMANENT, .. }));
    }

    #[test]
    fn waiting_for_another_worker_is_no_attempt() {
        let mut message = Message::default();
        message.set_attempt(2);
        let (route, copy) = failed(&message, Trouble::Leased(Duration::from_secs(3)));
        assert_eq!(route, Route::Park { after: Duration::from_secs(5) });
        assert_eq!((copy.attempt(), copy.history()), (2, vec![]));
    }
}
