//! Whether all works, and if not, what is wrong and what helps: the one answer for whoever is
//! paged, and what the first page shows. It counts no large table, so it is quick at any size.

mod problems;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::timeout;

use self::problems::Snapshot;
use crate::broker::QueueReport;
use crate::domain::presence::{Finding, Seen};
use crate::domain::processing::gate::Gate;
use crate::effects;
use crate::operate::doctor::{Patient, State};
use crate::operate::presence::{self, ProcessEntry};
use crate::store::gates::{self, parked};
use crate::store::letters::groups::{self, GroupRow};
use crate::store::operation::inspect::{self, OpenLetters, Outbox};
use crate::store::operation::minutes::{self, Minute};
use crate::store::{Connection, StoreError};

/// How far unpublished events and parked messages are counted.
const COUNTED: i64 = 10_000;
/// How many causes of dead letters are told.
const CAUSES: i64 = 20;
/// How long the database may take before it counts as away.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how many minutes a history is given at most: a day.
pub const MOST_MINUTES: u16 = 1_440;
/// From how many minutes the problems are judged.
const JUDGED: u16 = 5;

/// How everything is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Whether nothing fails. What somebody should look at, and an operator's pause, leave it true.
    pub working: bool,
    /// The same in a line, with the reason.
    pub summary: String,
    /// What is wrong, or should be looked at, worst first.
    pub problems: Vec<Problem>,
    /// The events that wait to be published; null while the database is away.
    pub outbox: Option<OutboxView>,
    /// The queues, as the broker said a moment ago; none while it is away.
    pub queues: Vec<QueueView>,
    /// The effects; none while the database is away.
    pub effects: Vec<EffectState>,
    /// The open dead letters; null while the database is away.
    pub dead_letters: Option<LettersView>,
    /// The processes, as `/processes` has them; none while the database is away.
    pub processes: Vec<ProcessEntry>,
    /// Each of the minutes that were asked for, oldest first; none while the database is away.
    pub history: Vec<MinuteView>,
}

/// Something that is wrong, or that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What sort it is, for programs.
    pub kind: &'static str,
    /// `fail` if something doesn't work, `warn` if somebody should look at it.
    pub state: State,
    /// The same in words.
    pub what: String,
    /// Since when, if that is known.
    pub since: Option<DateTime<Utc>>,
    /// Whether it gets worse, if that is known.
    pub growing: Option<bool>,
    /// How many events, messages or letters it is about, if it is about some.
    pub count: Option<i64>,
    /// What to do, with the command.
    pub press: String,
    /// What it is about.
    pub about: About,
}

/// What a problem is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// `database`, `broker`, `process`, `queue`, `outbox`, `effect` or `group`.
    #[serde(rename = "type")]
    pub sort: &'static str,
    /// Its name: of a group, the fingerprint.
    pub name: String,
}

/// The events that wait to be published.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboxView {
    /// How many there are; counted up to 10,000.
    pub unpublished: i64,
    /// How old the oldest of them is.
    pub oldest_age_seconds: Option<f64>,
}

/// A queue of the broker.
#[derive(Debug, Clone, Serialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// `main`, `delay` or `dead`.
    pub role: &'static str,
    /// How many messages wait in it.
    pub messages: u64,
    /// How many consumers it has; null if this broker doesn't know.
    pub consumers: Option<u32>,
}

/// An effect.
#[derive(Debug, Clone, Serialize)]
pub struct EffectState {
    /// Its name.
    pub name: String,
    /// `running`, `paused`, or `held` while its breaker is open.
    pub state: &'static str,
    /// How many messages wait for it; counted up to 10,000.
    pub parked: i64,
    /// Since when it is not running.
    pub since: Option<DateTime<Utc>>,
    /// Who has paused it.
    pub by: Option<String>,
}

/// The open dead letters.
#[derive(Debug, Clone, Serialize)]
pub struct LettersView {
    /// How many there are.
    pub open: i64,
    /// Of how many causes.
    pub causes: i64,
    /// How many of these causes have had a letter in the last five minutes.
    pub growing: i64,
}

/// What was done in a minute, as far as the processes have added it: they do so every ten seconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MinuteView {
    /// When it began.
    pub minute: DateTime<Utc>,
    /// Events written.
    pub created: u64,
    /// Events that the broker has confirmed.
    pub published: u64,
    /// Deliveries whose effects were all done.
    pub processed: u64,
    /// Deliveries that failed and are tried again.
    pub retried: u64,
    /// Deliveries that became dead letters.
    pub dead: u64,
    /// Within how many milliseconds of their commit half of the first attempts began, estimated
    /// from buckets; null if there was none.
    pub p50_ms: Option<f64>,
    /// The same of 95 in a hundred.
    pub p95_ms: Option<f64>,
}

/// What the database tells.
struct Told {
    outbox: Outbox,
    gates: Vec<(String, Gate, i64)>,
    letters: OpenLetters,
    groups: Vec<GroupRow>,
    processes: Vec<Seen>,
    findings: Vec<Finding>,
    history: Vec<Minute>,
}

/// Looks at everything. `queues` is what the broker said of its queues a moment ago, if anything is
/// known of that, and `broker` is its name. An outage of the database is part of the answer.
pub async fn look(
    of: &Patient,
    queues: Option<QueueReport>,
    broker: &'static str,
    minutes: u16,
) -> Overview {
    let asking = async { ask(&mut *of.store.connection().await?, minutes).await };
    let told = match timeout(PATIENCE, asking).await {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the database gives no answer within {} s", PATIENCE.as_secs())),
    };
    let problems = problems::find(of, &Snapshot { told: &told, queues: queues.as_ref(), broker });
    let working = problems.iter().all(|problem| problem.state != State::Fail);
    let summary = problems::summary(working, &problems, told.as_ref().ok());
    let queue = |queue: crate::broker::QueueState| QueueView {
        role: queue.role.as_str(),
        name: queue.name,
        messages: queue.messages,
        consumers: queue.consumers,
    };
    let queues = queues.map(|report| report.queues.into_iter().map(queue).collect());
    let mut overview = Overview {
        working,
        summary,
        problems,
        outbox: None,
        queues: queues.unwrap_or_default(),
        effects: Vec::new(),
        dead_letters: None,
        processes: Vec::new(),
        history: Vec::new(),
    };
    if let Ok(Told { outbox, gates, letters, processes, history, .. }) = told {
        let (unpublished, oldest_age_seconds) = (outbox.unpublished, outbox.oldest_seconds);
        overview.outbox = Some(OutboxView { unpublished, oldest_age_seconds });
        let OpenLetters { letters: open, causes, growing } = letters;
        overview.dead_letters = Some(LettersView { open, causes, growing });
        overview.effects = gates.into_iter().map(effect).collect();
        overview.processes = processes.into_iter().map(ProcessEntry::from).collect();
        let judged_alone = history.len().saturating_sub(minutes.into());
        overview.history = history.iter().skip(judged_alone).map(minute).collect();
    }
    overview
}

async fn ask(connection: &mut Connection, minutes: u16) -> Result<Told, StoreError> {
    let names: Vec<&'static str> = effects::built_in().names().collect();
    let found = gates::look(connection, &names).await?;
    let parked = parked::counts(connection, &names, COUNTED).await?;
    let waiting = |name: &str| parked.get(name).copied().unwrap_or_default();
    let gates = found.into_iter().map(|found| {
        let waiting = waiting(&found.effect);
        (found.effect, found.gate, waiting)
    });
    let (processes, findings) = presence::look(connection).await?;
    Ok(Told {
        gates: gates.collect(),
        outbox: inspect::outbox(connection, COUNTED).await?,
        letters: inspect::open_letters(connection).await?,
        groups: groups::worst(connection, CAUSES).await?,
        // What is judged is needed also if less is asked for.
        history: minutes::list(connection, minutes.max(JUDGED)).await?,
        processes,
        findings,
    })
}

fn effect((name, gate, parked): (String, Gate, i64)) -> EffectState {
    let state = gate.state();
    let (since, by) = match (gate.pause, gate.outage) {
        (Some(pause), _) => (Some(pause.since), Some(pause.by)),
        (None, Some(outage)) => (Some(outage.since), None),
        (None, None) => (None, None),
    };
    EffectState { name, state, parked, since, by }
}

fn minute(Minute { minute, done }: &Minute) -> MinuteView {
    let ms = |part| done.quantile(part).map(|seconds| (seconds * 1e4).round() / 10.0);
    MinuteView {
        minute: *minute,
        created: done.created,
        published: done.published,
        processed: done.processed,
        retried: done.retried,
        dead: done.dead,
        p50_ms: ms(0.5),
        p95_ms: ms(0.95),
    }
}
