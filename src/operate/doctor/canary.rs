//! Sends a canary through everything, and says how long each step took or where it got stuck.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Patient, Verdict};
use crate::domain::canary;
use crate::domain::presence::{Role, Seen};
use crate::operate::presence;
use crate::store::operation::canaries::{self, Underway};
use crate::store::{Store, StoreError};

/// How often it is looked where the canary is. The times that are shown don't depend on it.
const LOOK: Duration = Duration::from_millis(50);

/// What became of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flight {
    /// `done`, `stuck`, or `not sent`.
    pub state: String,
    /// The worker that took it.
    pub worker: Option<String>,
    /// The steps that it has behind it, in order.
    pub steps: Vec<Step>,
}

/// A step of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `written`, `published`, `taken` or `done`.
    pub step: String,
    /// How long after it was sent, in milliseconds; of `published`, at most.
    pub after_ms: i64,
}

/// Sends a canary and follows it for `limit` at most. Nothing of it stays.
pub(super) async fn send(of: &Patient, limit: Duration) -> (Verdict, Flight) {
    let none = || Flight { state: "not sent".to_owned(), worker: None, steps: Vec::new() };
    match fly(of, limit).await {
        Ok(flown) => flown,
        Err(error) => {
            let mend = super::wording::restart("DATABASE_URL");
            (Verdict::fail(format!("not sent: {error}"), "DATABASE_URL", mend), none())
        }
    }
}

async fn fly(of: &Patient, limit: Duration) -> Result<(Verdict, Flight), StoreError> {
    let store = &of.store;
    let (processes, _) = presence::look(&mut *store.connection().await?).await?;
    if let Some(refused) = unfit(of, &processes) {
        let flight = Flight { state: "not sent".to_owned(), worker: None, steps: Vec::new() };
        return Ok((refused, flight));
    }
    let forgotten = canaries::abandoned(&mut *store.connection().await?).await?;
    canaries::remove(&mut *store.connection().await?, &forgotten).await?;
    let (event, sent) = (canary::event(), Instant::now());
    let id = event.id;
    let written = canaries::send(&mut *store.connection().await?, &event).await;
    let took = sent.elapsed();
    let followed = match written {
        Ok(()) => follow(store, id, sent + limit).await,
        Err(error) => Err(error),
    };
    // Also after a failure: the commit may have happened.
    let removed = canaries::remove(&mut *store.connection().await?, &[id]).await;
    let flown = followed?;
    removed?;
    Ok(tell(of, &processes, flown.as_ref(), took, limit))
}

/// Why no canary is sent to these processes, if it can't arrive.
fn unfit(of: &Patient, processes: &[Seen]) -> Option<Verdict> {
    let workers = || processes.iter().filter(|seen| seen.is_alive() && seen.process.role.works());
    if let Some(why) = crate::domain::presence::no_worker(processes, chrono::Utc::now()) {
        return Some(Verdict::fail(format!("not sent: {why}"), "processes", of.start(Role::Work)));
    }
    // Another version may not know what a canary is, and would make it a dead letter.
    let other = workers().find(|seen| seen.process.version != env!("CARGO_PKG_VERSION"))?;
    let found = format!(
        "not sent: the worker {} has version {}, and this program {}",
        other.process.name,
        other.process.version,
        env!("CARGO_PKG_VERSION")
    );
    Some(Verdict::warn(found, "processes", "taskd ps  # then replace those of the other version"))
}

/// Waits until the canary has arrived, or until `deadline`. Returns how far it has come.
async fn follow(
    store: &Store,
    id: Uuid,
    deadline: Instant,
) -> Result<Option<Underway>, StoreError> {
    loop {
        let found = canaries::find(&mut *store.connection().await?, id).await?;
        let arrived = found.as_ref().is_none_or(|canary| canary.done_at.is_some());
        if arrived || Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(
    of: &Patient,
    processes: &[Seen],
    canary: Option<&Underway>,
    written: Duration,
    limit: Duration,
) -> (Verdict, Flight) {
    let mut steps = vec![Step {
        step: "written".to_owned(),
        after_ms: i64::try_from(written.as_millis()).unwrap_or(i64::MAX),
    }];
    let within = humantime::format_duration(limit);
    let Some(canary) = canary else {
        let found = "it was written, and deleted by somebody else before it arrived";
        let flight = Flight { state: "stuck".to_owned(), worker: None, steps };
        return (Verdict::fail(found, "events", "taskd doctor --canary"), flight);
    };
    // It is marked as published some time after the broker has it, when it may be done already.
    let published = [canary.published_at, canary.taken_at].into_iter().flatten().min();
    let times = [("published", published), ("taken", canary.taken_at), ("done", canary.done_at)];
    steps.extend(times.into_iter().filter_map(|(step, at)| {
        let after_ms = (at? - canary.sent_at).num_milliseconds();
        Some(Step { step: step.to_owned(), after_ms })
    }));
    let worker = canary.taken_by.clone();
    let by = worker.as_deref().unwrap_or("a worker");
    let publishes = processes.iter().any(|seen| seen.is_alive() && seen.process.role.publishes());
    let verdict = match (published, canary.taken_at, canary.done_at) {
        (_, _, Some(_)) => Verdict::ok(in_words(&steps, by)),
        (None, _, _) if !publishes => Verdict::fail(
            format!("written, and not published within {within}: nobody publishes events"),
            "events",
            of.start(Role::Serve),
        ),
        (None, _, _) => Verdict::fail(
            format!("written, and not published within {within}: the broker takes none"),
            "RABBITMQ_URL",
            "taskd topology check",
        ),
        (_, None, _) => Verdict::fail(
            format!(
                "written and published, and no worker has taken it within {within}: they are busy, or stuck"
            ),
            "QUEUE_NAME",
            "taskd ps",
        ),
        _ => Verdict::fail(
            format!("written, published and taken by {by}, and not done within {within}"),
            "processes",
            "taskd ps",
        ),
    };
    let state = if canary.done_at.is_some() { "done" } else { "stuck" }.to_owned();
    (verdict, Flight { state, worker, steps })
}

/// `written in 2 ms, published within 310 ms, taken by w1 after 315 ms, done after 316 ms`.
fn in_words(steps: &[Step], by: &str) -> String {
    let each = steps.iter().map(|Step { step, after_ms }| match step.as_str() {
        "written" => format!("written in {after_ms} ms"),
        "published" => format!("published within {after_ms} ms"),
        "taken" => format!("taken by {by} after {after_ms} ms"),
        other => format!("{other} after {after_ms} ms"),
    });
    each.collect::<Vec<_>>().join(", ")
}
