//! The table of a run, and what was wrong with it.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::client::{Met, Verdict};
use super::evidence::Evidence;
use super::faults::Injected;
use super::reconcile::Outcome;
use super::system::System;

/// How many violations are told with the whole timeline of their events, and how many at all; more of
/// them say nothing new.
const WITH_TIMELINE: usize = 10;
const TOLD: usize = 50;

#[derive(Default)]
struct Row {
    times: usize,
    writes: usize,
    events: usize,
    effects: usize,
    repeated: usize,
    recoveries: Vec<f64>,
}

/// The table: a row for each kind of fault, counting from its beginning to the next fault.
pub fn table(met: &Met, found: &Evidence, faults: &[Injected], outcome: &Outcome) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let during = |at: DateTime<Utc>| {
        let next = faults.partition_point(|fault| fault.from <= at);
        next.checked_sub(1).map_or("none yet", |index| faults[index].fault.name)
    };
    for record in met.records.iter().filter(|r| matches!(r.verdict, Verdict::Done { .. })) {
        rows.entry(during(record.tries[record.tries.len() - 1].0)).or_default().writes += 1;
    }
    for event in &found.events {
        rows.entry(during(event.occurred_at)).or_default().events += 1;
    }
    for at in found.activity.values().chain(found.mails.values()).flatten() {
        rows.entry(during(*at)).or_default().effects += 1;
    }
    for repeat in &outcome.repeats {
        rows.entry(repeat.cause).or_default().repeated += 1;
    }
    for fault in faults {
        let row = rows.entry(fault.fault.name).or_default();
        row.times += 1;
        row.recoveries.extend(recovery(found, fault));
    }
    let mut lost: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in &outcome.violations {
        for event in found.events.iter().filter(|event| violation.events.contains(&event.id)) {
            *lost.entry(during(event.occurred_at)).or_default() += 1;
        }
    }
    let mut text = String::from(
        "| fault | times | writes | events | effects | lost or wrong | repeated mails | recovery median s | worst s |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, row) in &mut rows {
        row.recoveries.sort_by(f64::total_cmp);
        let seconds = |at: Option<&f64>| at.map_or("-".to_owned(), |s| format!("{s:.2}"));
        let median = seconds(row.recoveries.get(row.recoveries.len() / 2));
        let worst = seconds(row.recoveries.last());
        let Row { times, writes, events, effects, repeated, .. } = row;
        let lost = lost.get(name).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "| {name} | {times} | {writes} | {events} | {effects} | {lost} | {repeated} | {median} | {worst} |"
        );
    }
    let others: usize = found.others.values().sum();
    let _ = writeln!(
        text,
        "\n{} writes answered, {} without a definite answer ({} of those carried out), {} answers lost, \
         {} writes found done behind a 5xx; {} events, {} mails, {} messages to \
         others of which {} are repetitions, {} dead letters {:?}; {} repeated mails, {} violations",
        met.records.len() - outcome.unknown.0,
        outcome.unknown.0,
        outcome.unknown.1,
        outcome.lost_answers,
        outcome.hidden,
        found.events.len(),
        found.mails.values().map(Vec::len).sum::<usize>(),
        others,
        others - found.others.len(),
        found.letters.len(),
        outcome.letters,
        outcome.repeats.len(),
        outcome.violations.len(),
    );
    text
}

/// How long after the end of a fault the first event was processed that came after it, in seconds.
fn recovery(found: &Evidence, fault: &Injected) -> Option<f64> {
    let later = found.events.iter().filter(|event| event.occurred_at >= fault.until);
    let processed = later.filter_map(|event| found.activity.get(&event.id)?.first());
    let first = processed.min()?;
    Some((*first - fault.until).as_seconds_f64())
}

/// Each repeated mail with its cause, and each violation with the timeline of its events.
pub fn details(system: &System, found: &Evidence, outcome: &Outcome) -> String {
    let mut text = String::new();
    for repeat in &outcome.repeats {
        let _ =
            writeln!(text, "repeated: {} at {:?} by {}", repeat.event, repeat.times, repeat.cause);
    }
    let more = outcome.violations.len().saturating_sub(TOLD);
    if more > 0 {
        let _ = writeln!(text, "VIOLATIONS: {more} more than the {TOLD} below");
    }
    for (index, violation) in outcome.violations.iter().take(TOLD).enumerate() {
        let _ = writeln!(text, "VIOLATION: {} {:?}", violation.what, violation.events);
        for event in violation.events.iter().filter(|_| index < WITH_TIMELINE) {
            let _ = writeln!(text, "{}", found.timeline(system, event));
        }
    }
    text
}
