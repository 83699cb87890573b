//! One delivery, from its row to the record of what came of it.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::client::{Attempt, Delivery, Outcome, WebhookClient};
use super::keyring::Keyring;
use super::trouble;
use super::window::{QUICK, Windows};
use crate::domain::webhook::{WARNED_AFTER, after_failure};
use crate::ground::batcher::Batcher;
use crate::ground::shutdown::Backoff;
use crate::ground::telemetry::Metrics;
use crate::publisher;
use crate::store::delivery::outbox::OutboxRow;
use crate::store::webhooks::settling::{Tried, Verdict};
use crate::store::webhooks::taking::{self, TakenRow};
use crate::store::{Store, StoreError};

/// When what can't be sent for a fault of ours is looked at again.
const AFTER_FAULT: Duration = Duration::from_secs(30);

/// What a delivery needs on its way.
pub(super) struct Sender {
    pub(super) store: Store,
    pub(super) client: WebhookClient,
    pub(super) keyring: Option<Keyring>,
    pub(super) metrics: Metrics,
    pub(super) worker: String,
    pub(super) windows: Mutex<Windows>,
    /// Told when there are deliveries, or places for them.
    pub(super) wake: Arc<Notify>,
    pub(super) tried: Batcher<Tried, Result<(), StoreError>>,
}

/// Why a delivery is not sent at all.
enum Unsent {
    /// It never will be.
    Never(&'static str),
    /// Its endpoint's secret can't be opened.
    NoSecret,
}

impl Sender {
    pub(super) fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a delivery, and records what came of it.
    pub(super) async fn deliver(self: Arc<Sender>, row: TakenRow) {
        let (began, webhook_id) = (Utc::now(), row.webhook_id);
        let mut place =
            Place { sender: Arc::clone(&self), webhook_id, end: (false, Duration::ZERO) };
        match self.request(&row) {
            Ok(request) => {
                let attempt = self.send(webhook_id, &request).await;
                self.observe(&attempt);
                place.end = (attempt.outcome == Outcome::Done, attempt.took);
                self.record(&row, began, attempt).await;
            }
            Err(Unsent::Never(why)) => {
                let record = json!({ "at": written(began), "worker": self.worker, "error": why });
                self.settle(&row, (Verdict::Failed, false), record).await;
                place.end = (true, Duration::ZERO);
            }
            Err(Unsent::NoSecret) => {
                tracing::error!(
                    webhook = webhook_id,
                    "no key of SECRET_KEY opens the webhook's secret; deliveries wait"
                );
                let key = (webhook_id, row.delivery_id, row.lease);
                let given_back = async {
                    let mut connection = self.store.connection().await?;
                    taking::give_back(&mut connection, key, AFTER_FAULT).await
                };
                if let Err(error) = given_back.await {
                    tracing::warn!(%error, "a delivery waits for the end of its lease");
                }
            }
        }
    }

    /// Sends it once. An endpoint that takes long is doubtful before it has answered.
    async fn send(&self, webhook_id: i64, request: &Delivery) -> Attempt {
        let mut sending = pin!(self.client.send(request));
        match tokio::time::timeout(QUICK, &mut sending).await {
            Ok(attempt) => attempt,
            Err(_) => {
                self.windows().is_late(webhook_id);
                sending.await
            }
        }
    }

    /// What is to be sent.
    fn request(&self, row: &TakenRow) -> Result<Delivery, Unsent> {
        let Some(event) = &row.event else { return Err(Unsent::Never("the event was purged")) };
        if !row.visible {
            return Err(Unsent::Never("the webhook's owner may not see this event any more"));
        }
        let keyring = self.keyring.as_ref().ok_or(Unsent::NoSecret)?;
        let secrets = keyring.open_all(row.webhook_id, &row.secret, &row.old_secrets);
        let secrets = secrets.ok_or(Unsent::NoSecret)?;
        let body = match row.conceals.then(|| concealed(event)).flatten() {
            Some(event) => publisher::copy_of(&event).body,
            None => publisher::copy_of(event).body,
        };
        Ok(Delivery {
            url: row.url.clone(),
            id: row.event_id.to_string(),
            body: body.into(),
            secrets,
        })
    }

    async fn record(&self, row: &TakenRow, began: DateTime<Utc>, attempt: Attempt) {
        let Attempt { status, answer, took, outcome } = attempt;
        let number = u32::try_from(row.attempt).unwrap_or(u32::MAX);
        let (verdict, error) = match &outcome {
            Outcome::Done => (Verdict::Done, None),
            Outcome::Gone => (Verdict::Failed, Some("answered 410: it wants no more".to_owned())),
            Outcome::Failed { why, wait } => {
                let next = after_failure(number, &row.retry_delays(), *wait, rand::random());
                (next.map_or(Verdict::Failed, Verdict::Again), Some(why.clone()))
            }
        };
        let record = json!({
            "at": written(began), "worker": self.worker, "status": status,
            "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "error": error, "answer": answer,
        });
        if let Some(error) = error {
            tracing::info!(webhook = row.webhook_id, delivery = row.delivery_id, event_id = %row.event_id,
                attempt = number, error, "a webhook delivery failed");
        }
        self.settle(row, (verdict, true), record).await;
        if let Err(error) = self.trouble(row, &outcome).await {
            tracing::warn!(webhook = row.webhook_id, %error, "what follows for the webhook can't be done; the next delivery does");
        }
    }

    /// Records a try, for as long as this process lives: what has happened can't be undone. A fault
    /// of ours leaves the delivery to the end of its lease.
    async fn settle(&self, row: &TakenRow, (verdict, sent): (Verdict, bool), record: Value) {
        let tried = Tried {
            webhook_id: row.webhook_id,
            delivery_id: row.delivery_id,
            lease: row.lease,
            verdict,
            sent,
            record,
        };
        if verdict == Verdict::Failed {
            self.metrics.webhook_failed.inc();
        }
        let mut backoff = Backoff::default();
        loop {
            let ended = || Err(StoreError::Fault("the recording of tries has failed".into()));
            match self.tried.call(tried.clone()).await.unwrap_or_else(ended) {
                Ok(()) => return,
                Err(StoreError::Unavailable(_) | StoreError::Conflict(_)) => {
                    tokio::time::sleep(backoff.pause()).await;
                }
                Err(error) => {
                    tracing::error!(webhook = row.webhook_id, delivery = row.delivery_id, %error, "a delivery can't be recorded; it is sent again");
                    return;
                }
            }
        }
    }

    /// Does what follows where an endpoint wants no more, or has failed for a day. Since when it
    /// fails is noted with its tries.
    async fn trouble(&self, row: &TakenRow, outcome: &Outcome) -> Result<(), StoreError> {
        let id = (row.webhook_id, row.url.as_str());
        match (outcome, row.failing_since) {
            (Outcome::Gone, _) => trouble::gone(&self.store, id).await,
            (Outcome::Failed { .. }, Some(since)) if Utc::now() - since >= warned_after() => {
                trouble::failing(&self.store, id).await
            }
            _ => Ok(()),
        }
    }

    fn observe(&self, attempt: &Attempt) {
        let outcome = match attempt.outcome {
            Outcome::Done => "done",
            Outcome::Gone => "gone",
            Outcome::Failed { .. } => "failed",
        };
        let seconds = attempt.took.as_secs_f64();
        self.metrics.webhook_tries.with_label_values(&[outcome]).observe(seconds);
    }
}

/// The place of a delivery among those in flight, until it is dropped.
struct Place {
    sender: Arc<Sender>,
    webhook_id: i64,
    /// Whether it has succeeded, and how long it took.
    end: (bool, Duration),
}

impl Drop for Place {
    fn drop(&mut self) {
        let (succeeded, took) = self.end;
        self.sender.windows().end(self.webhook_id, succeeded, took);
        self.sender.wake.notify_one();
    }
}

/// An event by which a task becomes somebody's, without what the task was before.
fn concealed(event: &OutboxRow) -> Option<OutboxRow> {
    let mut payload: Value = serde_json::from_str(&event.payload).ok()?;
    for (_, change) in payload.get_mut("changes")?.as_object_mut()? {
        change.as_object_mut()?.insert("from".to_owned(), Value::Null);
    }
    Some(OutboxRow { payload: payload.to_string(), ..event.clone() })
}

fn warned_after() -> TimeDelta {
    TimeDelta::from_std(WARNED_AFTER).unwrap_or_default()
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
