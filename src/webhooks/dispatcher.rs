//! Sends the deliveries that are due.
//!
//! A delivery is a row with a due time. It is taken under a lease, sent, and what came of it is
//! recorded; a process that dies in between leaves it to others when the lease runs out, and then
//! the endpoint may get it once more, with the same id.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::client::{Attempt, Delivery, Outcome, TIME_LIMIT, WebhookClient};
use super::keyring::Keyring;
use super::signature::SigningSecret;
use super::trouble;
use super::window::{Room, Share, Windows};
use crate::domain::webhook::{WARNED_AFTER, after_failure};
use crate::ground::batcher::Batcher;
use crate::ground::shutdown::{Backoff, Shutdown};
use crate::ground::telemetry::Metrics;
use crate::publisher;
use crate::store::delivery::outbox::OutboxRow;
use crate::store::webhooks::health;
use crate::store::webhooks::settling::{self, Tried, Verdict};
use crate::store::webhooks::taking::{self, TakenRow};
use crate::store::{Store, StoreError};

/// How often is looked for deliveries that have become due.
const EVERY: Duration = Duration::from_millis(250);
/// How long freed places are gathered, so that one statement fills many.
const GATHERED: Duration = Duration::from_millis(5);
/// How long a delivery is leased: a try, and the recording of it.
const LEASE: Duration = Duration::from_secs(60);
/// How many tries are recorded in one statement.
const BATCH: usize = 256;
/// When what can't be sent for a fault of ours is looked at again.
const AFTER_FAULT: Duration = Duration::from_secs(30);

/// Sends deliveries. Clones share what is in flight.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    store: Store,
    client: WebhookClient,
    keyring: Option<Keyring>,
    metrics: Metrics,
    worker: String,
    windows: Mutex<Windows>,
    /// Told when there are deliveries, or places for them.
    wake: Arc<Notify>,
    tried: Batcher<Tried, Result<(), StoreError>>,
}

impl Dispatcher {
    /// A dispatcher of the worker with this name. Without keys it sends nothing.
    pub fn new(
        store: Store,
        client: WebhookClient,
        keyring: Option<Keyring>,
        metrics: Metrics,
        worker: &str,
    ) -> Dispatcher {
        let tried = {
            let store = store.clone();
            Batcher::start(BATCH, move |tried: Vec<Tried>| {
                let store = store.clone();
                async move { settle_all(&store, tried).await }
            })
        };
        let (windows, wake) = (Mutex::default(), Arc::default());
        let worker = worker.to_owned();
        Dispatcher(Arc::new(Inner {
            store,
            client,
            keyring,
            metrics,
            worker,
            windows,
            wake,
            tried,
        }))
    }

    /// Whoever makes deliveries tells it.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.0.wake)
    }

    /// Sends until the process is told to stop; then what is in flight comes to its end, or the
    /// time for draining does.
    pub async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        while !shutdown.stopped() {
            let pause = match self.take().await {
                Ok(0) => {
                    backoff.reset();
                    EVERY
                }
                Ok(_) => {
                    backoff.reset();
                    // What was taken may not be all there is.
                    GATHERED
                }
                Err(error) => {
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::warn!(%error, "can't take webhook deliveries; retrying");
                    }
                    backoff.pause()
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => { shutdown.sleep(GATHERED).await; }
                _ = shutdown.sleep(pause) => {}
            }
        }
        tokio::select! {
            () = self.drained() => {}
            () = shutdown.deadline() => {
                let left = self.0.windows().in_flight();
                tracing::warn!(left, "DRAIN_TIMEOUT is over; deliveries in flight are left to other workers");
            }
        }
    }

    async fn drained(&self) {
        while self.0.windows().in_flight() > 0 {
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Takes what is due and there is room for. Returns how many deliveries that are.
    async fn take(&self) -> Result<usize, StoreError> {
        if self.0.keyring.is_none() {
            return Ok(0);
        }
        let Room { trusted, doubtful, endpoints } = self.0.windows().room();
        if trusted == 0 {
            return Ok(0);
        }
        let small = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let share = |share: Share| (share.id, small(share.most), share.doubtful);
        let room = taking::Room {
            trusted: small(trusted),
            doubtful: small(doubtful),
            endpoints: endpoints.into_iter().map(share).collect(),
            lease: LEASE,
        };
        let taken = taking::take(&mut *self.0.store.connection().await?, &room).await?;
        let count = taken.len();
        for row in taken {
            self.0.windows().begin(row.webhook_id);
            tokio::spawn(Arc::clone(&self.0).deliver(row));
        }
        Ok(count)
    }
}

/// Why a delivery is not sent at all.
enum Unsent {
    /// It never will be.
    Never(&'static str),
    /// Its endpoint's secret can't be opened.
    NoSecret,
}

impl Inner {
    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a delivery, and records what came of it.
    async fn deliver(self: Arc<Inner>, row: TakenRow) {
        let (began, webhook_id) = (Utc::now(), row.webhook_id);
        let (succeeded, took) = match self.request(&row) {
            Ok(request) => {
                let attempt = self.client.send(&request).await;
                self.observe(&attempt);
                let succeeded = attempt.outcome == Outcome::Done;
                let took = attempt.took;
                self.record(&row, began, attempt).await;
                (succeeded, took)
            }
            Err(Unsent::Never(why)) => {
                let record = json!({ "at": written(began), "worker": self.worker, "error": why });
                self.settle(&row, Verdict::Failed, record).await;
                (true, Duration::ZERO)
            }
            Err(Unsent::NoSecret) => {
                tracing::error!(
                    webhook = webhook_id,
                    "no key of SECRET_KEY opens the webhook's secret; deliveries wait"
                );
                let key = (webhook_id, row.delivery_id, row.attempt);
                let given_back = async {
                    let mut connection = self.store.connection().await?;
                    taking::give_back(&mut connection, key, AFTER_FAULT).await
                };
                if let Err(error) = given_back.await {
                    tracing::warn!(%error, "a delivery waits for the end of its lease");
                }
                (false, Duration::ZERO)
            }
        };
        self.windows().end(webhook_id, succeeded, took);
        self.wake.notify_one();
    }

    /// What is to be sent.
    fn request(&self, row: &TakenRow) -> Result<Delivery, Unsent> {
        let Some(event) = &row.event else { return Err(Unsent::Never("the event was purged")) };
        if !row.visible {
            return Err(Unsent::Never("the webhook's owner may not see this event any more"));
        }
        let keyring = self.keyring.as_ref().ok_or(Unsent::NoSecret)?;
        let open = |sealed: &Vec<u8>| keyring.open(row.webhook_id, sealed);
        let mut secrets: Vec<SigningSecret> = vec![open(&row.secret).ok_or(Unsent::NoSecret)?];
        secrets.extend(row.old_secret.as_ref().and_then(open));
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
        self.settle(row, verdict, record).await;
        if let Err(error) = self.health(row, &outcome).await {
            tracing::warn!(webhook = row.webhook_id, %error, "how the webhook is can't be noted; the next delivery does");
        }
    }

    /// Records a try, for as long as this process lives: what has happened can't be undone. A fault
    /// of ours leaves the delivery to the end of its lease.
    async fn settle(&self, row: &TakenRow, verdict: Verdict, record: Value) {
        let tried = Tried {
            webhook_id: row.webhook_id,
            delivery_id: row.delivery_id,
            attempt: row.attempt,
            verdict,
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

    /// Notes since when an endpoint fails, and does what follows from that. In most cases nothing
    /// has changed, and then nothing is asked.
    async fn health(&self, row: &TakenRow, outcome: &Outcome) -> Result<(), StoreError> {
        match (outcome, row.failing_since) {
            (Outcome::Gone, _) => trouble::gone(&self.store, row.webhook_id).await,
            (Outcome::Done, Some(_)) | (Outcome::Failed { .. }, None) => {
                let mut connection = self.store.connection().await?;
                health::note(&mut connection, row.webhook_id, *outcome == Outcome::Done).await
            }
            (Outcome::Failed { .. }, Some(since)) if Utc::now() - since >= warned_after() => {
                trouble::failing(&self.store, row.webhook_id).await
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

/// An event by which a task becomes somebody's, without what the task was before.
fn concealed(event: &OutboxRow) -> Option<OutboxRow> {
    let mut payload: Value = serde_json::from_str(&event.payload).ok()?;
    for (_, change) in payload.get_mut("changes")?.as_object_mut()? {
        change["from"] = Value::Null;
    }
    Some(OutboxRow { payload: payload.to_string(), ..event.clone() })
}

fn warned_after() -> TimeDelta {
    TimeDelta::from_std(WARNED_AFTER).unwrap_or_default()
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Records a batch. If it fails for its content, records one by one.
async fn settle_all(store: &Store, tried: Vec<Tried>) -> Vec<Result<(), StoreError>> {
    let settle =
        async |tried: &[Tried]| settling::settle(&mut *store.connection().await?, tried).await;
    match settle(&tried).await {
        Err(StoreError::Fault(_) | StoreError::TooSlow(_)) if tried.len() > 1 => {
            let mut answers = Vec::with_capacity(tried.len());
            for one in &tried {
                answers.push(settle(std::slice::from_ref(one)).await);
            }
            answers
        }
        answer => vec![answer; tried.len()],
    }
}

/// A try takes less than the lease lasts.
const _: () = assert!(TIME_LIMIT.as_secs() * 2 < LEASE.as_secs());
