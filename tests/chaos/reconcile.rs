//! Holds what the clients were answered against what is found.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::client::{Answer, Kind, Met, Record, Verdict};
use super::evidence::{Event, Evidence};
use super::faults::{FELT_AFTER, Injected};

const DELETED: &str = "TASK_DELETED";

/// A promise that was broken, and by which events.
#[derive(Debug)]
pub struct Violation {
    pub what: String,
    pub events: Vec<String>,
}

fn violation(what: String, events: &[&Event]) -> Violation {
    Violation { what, events: events.iter().map(|event| event.id.clone()).collect() }
}

/// A mail that was sent again, as it may be, and why.
pub struct Repeat {
    pub event: String,
    pub times: Vec<DateTime<Utc>>,
    pub cause: &'static str,
}

/// The outcome of a run.
#[derive(Default)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub repeats: Vec<Repeat>,
    /// Writes with no definite answer, and how many of those were carried out.
    pub unknown: (usize, usize),
    /// Writes that were carried out although a try was answered 5xx; the repeat told the client.
    pub hidden: usize,
    /// Tries whose answer was lost.
    pub lost_answers: usize,
    /// Dead letters by the fault that explains them.
    pub letters: BTreeMap<&'static str, usize>,
}

pub fn reconcile(met: &Met, found: &Evidence, faults: &[Injected]) -> Outcome {
    let mut outcome = Outcome::default();
    writes(met, found, faults, &mut outcome);
    tasks(found, &mut outcome);
    effects(found, &mut outcome);
    repeats(found, faults, &mut outcome);
    letters(found, faults, &mut outcome);
    for stale in &met.stale {
        outcome.violations.push(violation(format!("a stale read: {stale}"), &[]));
    }
    outcome
}

/// Every write that was answered 2xx has one event; what was refused has none; what was not answered
/// is there wholly or not at all.
fn writes(met: &Met, found: &Evidence, faults: &[Injected], outcome: &mut Outcome) {
    let mut by_mark: HashMap<&str, Vec<&Event>> = HashMap::new();
    let mut deleted: HashMap<(i64, i64), Vec<&Event>> = HashMap::new();
    for event in &found.events {
        if event.event_type == DELETED {
            deleted.entry((event.task, event.version)).or_default().push(event);
        } else {
            by_mark.entry(&event.title).or_default().push(event);
        }
    }
    for record in &met.records {
        let lost = |(_, _, answer): &&(_, _, Answer)| matches!(answer, Answer::Lost(_));
        outcome.lost_answers += record.tries.iter().filter(lost).count();
        let events = match (record.kind, record.target) {
            (Kind::Delete, Some((task, version))) => deleted.get(&(task, version + 1)),
            _ => by_mark.get(record.mark.as_str()),
        };
        let events: &[&Event] = events.map_or(&[], Vec::as_slice);
        if let Some(problem) = wrong(record, events) {
            outcome.violations.push(violation(format!("{problem}: {record:?}"), events));
        }
        if record.verdict == Verdict::Unknown {
            outcome.unknown.0 += 1;
            outcome.unknown.1 += usize::from(!events.is_empty());
        }
        if record.hidden {
            outcome.hidden += 1;
            let (first, last) = (record.tries[0].0, record.tries[record.tries.len() - 1].0);
            if !faults
                .iter()
                .any(|f| f.fault.hides_writes() && f.from <= last && first <= f.until + FELT_AFTER)
            {
                let what =
                    format!("a 5xx without cause hid a write that was carried out: {record:?}");
                outcome.violations.push(violation(what, events));
            }
        }
    }
}

fn wrong(record: &Record, events: &[&Event]) -> Option<&'static str> {
    match (record.kind, record.verdict, events) {
        (_, Verdict::Done { task, version }, [event]) => {
            let same = (event.task, event.version) == (task, version);
            (!same).then_some("the answer names another task or version than the event")
        }
        (_, Verdict::Done { .. }, []) => Some("a write that was answered 2xx has no event"),
        (_, _, [_, _, ..]) => Some("a write has more than one event"),
        (Kind::Wrong, _, [_]) => Some("a write that was refused has an event"),
        (Kind::Wrong, _, []) | (_, Verdict::Unknown, _) => None,
        (_, Verdict::Refused, _) => Some("a write that is right was refused"),
    }
}

/// The versions of each task run from 1 without a gap, each with one event, and the task is as the
/// last one says.
fn tasks(found: &Evidence, outcome: &mut Outcome) {
    let mut by_task: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
    for event in &found.events {
        by_task.entry(event.task).or_default().push(event);
    }
    for (task, events) in &by_task {
        let versions: Vec<i64> = events.iter().map(|event| event.version).collect();
        if versions != (1..=versions.len() as i64).collect::<Vec<_>>() {
            outcome
                .violations
                .push(violation(format!("task {task} has events {versions:?}"), events));
        }
        let Some(last) = events.last() else { continue };
        let now = found.tasks.get(task);
        let wanted = (last.event_type != DELETED).then(|| (last.version, last.title.clone()));
        if now != wanted.as_ref() {
            let what = format!("task {task} is {now:?}, by its events {wanted:?}");
            outcome.violations.push(violation(what, events));
        }
    }
    for task in found.tasks.keys().filter(|task| !by_task.contains_key(task)) {
        outcome.violations.push(violation(format!("task {task} has no event"), &[]));
    }
}

/// Every event is published, has its database effect once, and its mail at least once and its copy
/// for others unless it is among the dead letters; and nothing has an effect that is no event.
fn effects(found: &Evidence, outcome: &mut Outcome) {
    let dead = found.dead();
    let mut wrong = |what: &str, event: &Event| {
        outcome.violations.push(violation(what.to_owned(), &[event]));
    };
    for event in &found.events {
        if !event.published {
            wrong("an event was never published", event);
        }
        match found.activity.get(&event.id).map_or(0, Vec::len) {
            1 => {}
            0 => wrong("a database effect was lost", event),
            _ => wrong("a database effect was repeated", event),
        }
        if !found.mails.contains_key(&event.id) && !dead.contains(event.id.as_str()) {
            wrong("a mail was lost", event);
        }
        if !found.others.contains_key(&event.id) && !dead.contains(event.id.as_str()) {
            wrong("an event has not come to the queue of others", event);
        }
    }
    let known: HashSet<&str> = found.events.iter().map(|event| event.id.as_str()).collect();
    for id in found.activity.keys().chain(found.mails.keys()).chain(found.others.keys()) {
        if !known.contains(id.as_str()) {
            let what = "an effect of something that is no event".to_owned();
            outcome.violations.push(Violation { what, events: vec![id.clone()] });
        }
    }
}

fn repeats(found: &Evidence, faults: &[Injected], outcome: &mut Outcome) {
    for (event, times) in &found.mails {
        // Each but the last must have a reason why it was not the last.
        for (at, again) in times.iter().zip(times.iter().skip(1)) {
            let felt = |f: &&Injected| f.from <= *at && *at <= f.until + FELT_AFTER;
            let held_up = faults.iter().filter(felt).any(|f| f.fault.holds_records_up());
            let cause = faults
                .iter()
                .find(|f| f.fault.repeats_mail([*at, *again], [f.from, f.until], held_up));
            match cause {
                Some(cause) => outcome.repeats.push(Repeat {
                    event: event.clone(),
                    times: times.clone(),
                    cause: cause.fault.name,
                }),
                None => outcome.violations.push(Violation {
                    what: "a mail was repeated without a cause".to_owned(),
                    events: vec![event.clone()],
                }),
            }
        }
    }
}

fn letters(found: &Evidence, faults: &[Injected], outcome: &mut Outcome) {
    for letter in &found.letters {
        let reason = letter["reason"].as_str().unwrap_or_default();
        let died_at = letter["diedAt"].as_str().and_then(|t| t.parse::<DateTime<Utc>>().ok());
        let cause = faults.iter().find(|f| {
            f.fault.kills(reason)
                && died_at.is_some_and(|at| f.from <= at && at <= f.until + FELT_AFTER)
        });
        match cause {
            Some(cause) => *outcome.letters.entry(cause.fault.name).or_default() += 1,
            None => outcome.violations.push(Violation {
                what: format!("a dead letter without a cause: {letter}"),
                events: letter["eventId"].as_str().map(str::to_owned).into_iter().collect(),
            }),
        }
    }
}
