//! Sends a message that could not be processed to a delay queue, or to the dead letters.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::authenticity::Authenticity;
use crate::broker::kept;
use crate::broker::message::{self, Message};
use crate::broker::{Broker, BrokerError, Destination, Outgoing};
use crate::domain::processing::effect::EffectKey;
use crate::domain::processing::failure::{Failure, Failures};
use crate::domain::processing::history::{FailedAttempt, LAST_ERROR_CHARS, remember};
use crate::domain::processing::retry::{DeadReason, RetryPolicy, Route};
use crate::domain::processing::setback::Setback;
use crate::store::StoreError;

/// Sends failed messages on.
#[derive(Clone)]
pub struct RetryRouter {
    broker: Arc<dyn Broker>,
    authenticity: Authenticity,
    policy: RetryPolicy,
    worker: String,
}

impl RetryRouter {
    /// A router for a worker of this name. It signs what it sends as this installation's.
    pub fn new(
        broker: Arc<dyn Broker>,
        authenticity: Authenticity,
        policy: RetryPolicy,
        worker: &str,
    ) -> RetryRouter {
        RetryRouter { broker, authenticity, policy, worker: worker.to_owned() }
    }

    /// What kind of broker the messages come from, and from which of its queues.
    pub fn source(&self) -> (&'static str, &str) {
        (self.broker.system(), self.broker.main_queue())
    }

    /// Decides where these failures send a message, and makes the copy that goes there.
    pub fn plan(&self, original: &Message, failures: &Failures) -> Forward {
        let now = Utc::now();
        let (route, copy) = plan(&self.policy, &self.worker, original, failures, now);
        let (attempt, retries) = (original.attempt(), self.policy.retries());
        let setback = Setback::of(route, attempt, retries, failures, now);
        Forward { route, setback, copy }
    }

    /// Publishes the copy to the queue of its route. Only when this returns `Ok` may the original
    /// be acked: the copy is then confirmed. A copy of a message that is not ours is not signed.
    ///
    /// # Errors
    /// The broker did not confirm, or the key to sign with can't be read.
    pub async fn send(&self, forward: &Forward, to: Destination) -> Result<(), BrokerError> {
        let mut copy = forward.copy.clone();
        if forward.route != Route::Dead(DeadReason::NotOurs) {
            let authority = self.authenticity.authority().await;
            let away = |error: StoreError| BrokerError::Unavailable(error.to_string());
            authority.map_err(away)?.sign(&mut copy);
        }
        let answers = self.broker.publish(vec![Outgoing { to, message: copy }]).await;
        let unanswered = || Err(BrokerError::Unavailable("no answer".into()));
        answers.into_iter().next().unwrap_or_else(unanswered)
    }
}

/// A failed message on its way to where it waits or ends.
pub struct Forward {
    /// Where it goes.
    pub route: Route,
    /// What that is to operators.
    pub setback: Setback,
    copy: Message,
}

impl Forward {
    /// The queue that the copy goes to; `None` if the database keeps it.
    pub fn queue(&self) -> Option<Destination> {
        match self.route {
            Route::Retry { after, .. } | Route::Park { after } => Some(Destination::Delay(after)),
            Route::Dead(_) => Some(Destination::DeadLetter),
            Route::Hold(_) => None,
        }
    }

    /// The copy as the database keeps it, and its body.
    pub fn kept(&self) -> (String, Vec<u8>) {
        (kept::keep(&self.copy), self.copy.body.clone())
    }

    /// Makes the copy say that each effect of its event has a record, which must be true by then.
    pub fn set_recorded(&mut self) {
        self.copy.set_recorded();
    }

    /// The id of the dead letter, if it becomes one.
    pub fn letter(&self) -> Option<&str> {
        self.copy.text(message::DEAD_ID).filter(|_| matches!(self.route, Route::Dead(_)))
    }
}

/// Decides the route, and makes the copy to send.
fn plan(
    policy: &RetryPolicy,
    worker: &str,
    original: &Message,
    failures: &Failures,
    now: DateTime<Utc>,
) -> (Route, Message) {
    let attempt = original.attempt();
    let mut copy = original.copy();
    copy.headers.remove(message::SIGNATURE);
    copy.headers.remove(message::PASS);
    let route = policy.route(attempt, failures);
    if matches!(route, Route::Park { .. } | Route::Hold(_)) {
        return (route, copy);
    }
    let mut history = copy.history();
    let failed = || failures.iter().filter(|failure| failure.is_failed_attempt());
    for failure in failed() {
        let attempt = FailedAttempt {
            attempt,
            worker: worker.to_owned(),
            at: now,
            effect: failure.effect.as_ref().map(EffectKey::to_string),
            error: failure.message.clone(),
        };
        remember(&mut history, attempt);
    }
    copy.set_history(&history);
    match route {
        Route::Retry { attempt, .. } => copy.set_attempt(attempt),
        Route::Dead(reason) => {
            copy.set_attempt(attempt);
            copy.set_text(message::DEAD_REASON, reason.as_str());
            let mut last = failed().last().map(Failure::to_string).unwrap_or_default();
            if let Some((end, _)) = last.char_indices().nth(LAST_ERROR_CHARS) {
                last.truncate(end);
                last.push('…');
            }
            copy.set_text(message::DEAD_ERROR, last);
            copy.set_text(message::DEAD_AT, now.to_rfc3339());
            copy.set_text(message::DEAD_ID, Uuid::now_v7().to_string());
        }
        Route::Park { .. } | Route::Hold(_) => {}
    }
    (route, copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn policy() -> RetryPolicy {
        "1s,5s".parse().unwrap()
    }

    fn failed(original: &Message, failure: Failure) -> (Route, Message) {
        plan(&policy(), "w1", original, &failure.into(), Utc::now())
    }

    #[test]
    fn a_message_walks_the_delays_and_then_dies_with_its_whole_history() {
        let mut message =
            Message { body: b"{}".to_vec(), message_id: Some("e".into()), ..Message::default() };
        message.set_text("tenant", "t");
        let mut routes = Vec::new();
        for _ in 0..3 {
            let (route, copy) =
                failed(&message, Failure::transient("451 later").of(EffectKey::only("email")));
            routes.push(route);
            message = copy;
        }
        assert_eq!(routes[0], Route::Retry { after: Duration::from_secs(1), attempt: 2 });
        assert_eq!(routes[1], Route::Retry { after: Duration::from_secs(5), attempt: 3 });
        assert_eq!(routes[2], Route::Dead(DeadReason::Exhausted));
        assert_eq!(message.text(message::DEAD_ERROR), Some("email: 451 later"));
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
        let (route, copy) = failed(&message, Failure::malformed("not JSON"));
        assert_eq!(route, Route::Dead(DeadReason::Malformed));
        assert_eq!(copy.text(message::DEAD_ERROR), Some("not JSON"));
        assert_eq!(copy.history().len(), 1);
        let mut forged = message.clone();
        forged.set_text(message::SIGNATURE, "v1,forged");
        let (route, copy) = failed(&forged, Failure::not_ours());
        assert_eq!(route, Route::Dead(DeadReason::NotOurs));
        assert_eq!(copy.text(message::DEAD_REASON), Some("not ours"));
        assert_eq!(copy.text(message::SIGNATURE), None);
        let (route, _) =
            failed(&message, Failure::permanent("550 no").of(EffectKey::only("email")));
        assert_eq!(route, Route::Dead(DeadReason::Permanent));
    }

    #[test]
    fn waiting_for_another_worker_is_no_attempt() {
        let mut message = Message::default();
        message.set_attempt(2);
        let (route, copy) = failed(&message, Failure::waiting(Duration::from_secs(3), "leased"));
        assert_eq!(route, Route::Park { after: Duration::from_secs(5) });
        assert_eq!((copy.attempt(), copy.history()), (2, vec![]));
    }
}
