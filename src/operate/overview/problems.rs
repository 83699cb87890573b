//! What is wrong, and what helps, from what is known of everything. The rules are the doctor's
//! where it has one.

use chrono::{DateTime, TimeDelta, Utc};

use super::{About, JUDGED, Problem, Told};
use crate::broker::{QueueReport, QueueRole, QueueState};
use crate::domain::presence::{Finding, Role, Seen};
use crate::domain::processing::gate::Gate;
use crate::domain::processing::retry::DeadReason;
use crate::operate::doctor::gates::{of_outage, of_pause};
use crate::operate::doctor::wording::{count, quoted, restart};
use crate::operate::doctor::work::{of_finding, of_outbox};
use crate::operate::doctor::{Patient, State, Verdict};
use crate::store::letters::groups::GroupRow;
use crate::store::operation::minutes::Minute;

/// What is known.
pub(super) struct Snapshot<'a> {
    /// What the database tells, or why it tells nothing.
    pub(super) told: &'a Result<Told, String>,
    /// What the broker has said of its queues a moment ago, if that is known.
    pub(super) queues: Option<&'a QueueReport>,
    /// The broker's name.
    pub(super) broker: &'static str,
}

/// The problems, worst first.
pub(super) fn find(of: &Patient, known: &Snapshot<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Err(why) = known.told {
        found.push(database_away(why));
    }
    found.extend(broker_away(known));
    let Ok(told) = known.told else { return found };
    let processes = told.findings.iter().map(|finding| of_process(of, finding));
    let (failing, others): (Vec<_>, Vec<_>) =
        processes.partition(|problem| problem.state == State::Fail);
    found.extend(failing);
    found.extend(without_consumer(of, known, &told.processes));
    found.extend(outbox(of, told));
    found.extend(most_die(&told.history));
    found.extend(told.gates.iter().filter_map(outage));
    found.extend(told.groups.iter().map(group));
    found.extend(others);
    found.extend(told.gates.iter().filter_map(pause));
    found
}

/// Everything in a line.
pub(super) fn summary(working: bool, problems: &[Problem], told: Option<&Told>) -> String {
    let Some(first) = problems.first() else {
        let alive = |what: fn(Role) -> bool| {
            let processes = told.iter().flat_map(|told| &told.processes);
            processes.filter(|seen| seen.is_alive() && what(seen.process.role)).count()
        };
        let (workers, servers) = (alive(Role::works), alive(Role::publishes));
        return format!(
            "working: {} and {} are there, and nothing needs you",
            count(workers, "worker"),
            count(servers, "server")
        );
    };
    let state = if working { "working, but" } else { "not working:" };
    let more = match problems.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    format!("{state} {}{more}", first.what)
}

fn about(sort: &'static str, name: impl Into<String>) -> About {
    About { sort, name: name.into() }
}

/// What a verdict says, as a problem: `press` says what its command is for.
fn problem(kind: &'static str, about: About, press: &str, verdict: Verdict) -> Problem {
    let press = match verdict.mend {
        Some(command) => format!("{press}: {command}"),
        None => press.to_owned(),
    };
    let Verdict { state, found: what, .. } = verdict;
    Problem { kind, state, what, since: None, growing: None, count: None, press, about }
}

fn database_away(why: &str) -> Problem {
    let verdict = Verdict::fail(why, "DATABASE_URL", restart("DATABASE_URL"));
    let about = about("database", "PostgreSQL");
    problem("database_away", about, "bring the database back", verdict)
}

fn broker_away(known: &Snapshot<'_>) -> Option<Problem> {
    let (why, since) = known.queues?.away.as_ref()?;
    // The broker in tables is away with its database, which is told already.
    if known.broker == "postgresql" && known.told.is_err() {
        return None;
    }
    let why = why.strip_prefix("RABBITMQ_URL: ").unwrap_or(why);
    let found = format!("{why}; events wait in the outbox until it is back");
    let verdict = Verdict::fail(found, "RABBITMQ_URL", restart("RABBITMQ_URL"));
    let about = about("broker", known.broker);
    let problem = problem("broker_away", about, "bring the broker back", verdict);
    Some(Problem { since: Some(*since), ..problem })
}

fn of_process(of: &Patient, finding: &Finding) -> Problem {
    let verdict = of_finding(of, finding);
    let (name, press) = match &finding.process {
        Some(process) => (process.name.as_str(), "stop it, and start it again"),
        None if verdict.state == State::Fail => ("workers", "start a worker"),
        None => ("workers", "look which they are"),
    };
    let problem = problem(finding.code, about("process", name), press, verdict);
    Problem { since: finding.since, ..problem }
}

/// Workers are there, and none of them consumes: they may have lost the broker, or have another.
fn without_consumer(of: &Patient, known: &Snapshot<'_>, processes: &[Seen]) -> Option<Problem> {
    let queues = known.queues?.queues.iter();
    let QueueState { name, messages, .. } = queues
        .filter(|queue| queue.role == QueueRole::Main)
        .find(|queue| queue.consumers == Some(0))?;
    processes.iter().find(|seen| seen.is_alive() && seen.process.role.works())?;
    let found = format!("workers are there, and none of them consumes from {name}");
    let command = format!(
        "taskd doctor  # in a worker's environment; then restart it: {}",
        of.start(Role::Work)
    );
    let verdict = Verdict::fail(found, name, command);
    let press =
        "see whether the workers reach the broker, and its virtual host and queue are yours";
    let problem = problem("no_consumer", about("queue", name), press, verdict);
    Some(Problem { count: i64::try_from(*messages).ok(), ..problem })
}

fn outbox(of: &Patient, told: &Told) -> Option<Problem> {
    let age = told.outbox.oldest_seconds?;
    let verdict = of_outbox(of, &told.processes, age)?;
    let (created, published) = of_late(&told.history, |done| (done.created, done.published));
    let press = "see what keeps events from being published";
    let problem = problem("outbox_waits", about("outbox", "events"), press, verdict);
    let since = TimeDelta::try_milliseconds((age * 1e3) as i64).map(|age| Utc::now() - age);
    let count = Some(told.outbox.unpublished);
    Some(Problem { since, growing: Some(created > published), count, ..problem })
}

/// How many must have died of late for it to mean something.
const FEW: u64 = 5;

/// More messages die than are processed: what fails is not a few of them.
fn most_die(history: &[Minute]) -> Option<Problem> {
    let (dead, processed) = of_late(history, |done| (done.dead, done.processed));
    if dead < FEW || dead <= processed {
        return None;
    }
    let letters = count(i64::try_from(dead).unwrap_or(i64::MAX), "message");
    let found = format!(
        "{letters} became dead letters in the last five minutes, and {processed} were processed"
    );
    let verdict = Verdict::fail(found, "dead_letters", "taskd dlq groups");
    let press = "see what they have in common, and mend that";
    let problem = problem("most_die", about("queue", "dead letters"), press, verdict);
    Some(Problem { growing: Some(true), count: i64::try_from(dead).ok(), ..problem })
}

/// The sums of two counts over the last minutes that are judged.
fn of_late(
    history: &[Minute],
    counts: impl Fn(&crate::ground::telemetry::Activity) -> (u64, u64),
) -> (u64, u64) {
    let late = history.iter().rev().take(JUDGED.into()).map(|minute| counts(&minute.done));
    late.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
}

fn outage((effect, gate, waiting): &(String, Gate, i64)) -> Option<Problem> {
    let outage = gate.outage.as_ref()?;
    let verdict = of_outage(effect, outage, *waiting);
    let press = "mend the other side";
    Some(gated("breaker_open", effect, (outage.since, *waiting), press, verdict))
}

fn pause((effect, gate, waiting): &(String, Gate, i64)) -> Option<Problem> {
    let pause = gate.pause.as_ref()?;
    let verdict = of_pause(effect, pause, *waiting);
    let press = "let it run again when it may";
    Some(gated("paused", effect, (pause.since, *waiting), press, verdict))
}

fn gated(
    kind: &'static str,
    effect: &str,
    (since, waiting): (DateTime<Utc>, i64),
    press: &str,
    verdict: Verdict,
) -> Problem {
    let problem = problem(kind, about("effect", effect), press, verdict);
    Problem { since: Some(since), count: Some(waiting), ..problem }
}

/// How much of an error is told, in characters.
const SHOWN: usize = 200;

fn group(group: &GroupRow) -> Problem {
    let GroupRow { fingerprint, effect, reason, pattern, open, first_at, growing, sample, .. } =
        group;
    let failed = effect.as_deref().unwrap_or(reason);
    let pattern: String = pattern.chars().take(SHOWN).collect();
    let found = format!("{} of {failed}: {pattern}", count(*open, "dead letter"));
    let (letter, cause) = (quoted(sample), quoted(fingerprint));
    // What this installation has not signed is never believed, however often it is replayed.
    let (press, order) = match reason == DeadReason::NotOurs.as_str() {
        true => ("look where they come from, and discard them", "discard"),
        false => ("look at one, mend the cause, and replay them", "replay"),
    };
    let command = format!("taskd dlq show {letter}; taskd dlq {order} --group {cause}");
    let verdict = Verdict::warn(found, fingerprint, command);
    let problem = problem("dead_letters", about("group", fingerprint), press, verdict);
    Problem { since: Some(*first_at), growing: Some(*growing), count: Some(*open), ..problem }
}

#[cfg(test)]
mod tests;
