//! Breaks things while work goes on, and then looks whether anything was lost or repeated.
//!
//! `scripts/chaos` runs it, and says what it is told by: CHAOS_SECONDS (0: each fault once),
//! CHAOS_SEED, CHAOS_FAULTS (names with commas between; all where it is empty) and CHAOS_DEFECT.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a helper that fails fails the run"
)]

mod client;
mod evidence;
mod faults;
mod followers;
mod inject;
mod others;
mod probes;
mod receivers;
mod reconcile;
mod report;
mod system;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use client::Traffic;
use evidence::Evidence;
use faults::Injected;
use followers::Followers;
use probes::Probes;
use system::{SETTLED, System};
use taskd_testing::{Verdict, eventually_within};

const CLIENTS: usize = 8;
/// Writes a second of each client, while nothing stands in the way.
const RATE: f64 = 6.0;
/// How long to wait for what a defect has lost.
const LOST: Duration = Duration::from_secs(30);
/// By what each defect must be noticed.
const NOTICED_BY: [(&str, &str); 3] = [
    ("publish-after-commit", "a write that was answered 2xx has no event"),
    ("ack-before-effect", "a mail was lost"),
    ("check-then-insert", "a mail was repeated without a cause"),
];

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "runs for minutes: scripts/chaos"]
async fn chaos() {
    let seconds: f64 = setting("CHAOS_SECONDS").parse().unwrap_or_default();
    let seed: u64 = setting("CHAOS_SEED").parse().unwrap_or(1);
    let names: Vec<String> =
        setting("CHAOS_FAULTS").split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    let chosen = faults::chosen(&names).unwrap_or_else(|error| panic!("{error}"));
    let defect = setting("CHAOS_DEFECT");
    let defect = (!defect.is_empty()).then_some(defect.as_str());

    let system = System::start(defect).await;
    let probes = Probes::start(&system);
    let traffic = Traffic::start(&system, seed, CLIENTS, RATE);
    let followers = Followers::start(&system, seed);
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut injected = Vec::new();
    work_on(&system, &traffic).await;
    'run: loop {
        for fault in faults::shuffled(&chosen, &mut random) {
            if seconds > 0.0 && started.elapsed().as_secs_f64() > seconds {
                break 'run;
            }
            eprintln!("{:7.1} s  {}", started.elapsed().as_secs_f64(), fault.name);
            injected.push(fault.inject(&system, &mut random).await);
            work_on(&system, &traffic).await;
        }
        if seconds == 0.0 {
            break;
        }
    }
    system.all_up().await;
    let met = traffic.end().await;
    probes.end().await;
    // What a defect has lost will never come.
    rest(&system, if defect.is_some() { LOST } else { SETTLED }).await;
    let told = followers.end().await;
    conclude(&system, (&met, &told), &injected, defect).await;
}

/// Waits until the system is over a fault: writes are answered again, and an event made after it is
/// processed.
async fn work_on(system: &System, traffic: &Traffic) {
    let until = traffic.answered.load(Ordering::Relaxed) + 2 * CLIENTS;
    let db = system.db().await;
    let now = chrono::Utc::now().to_rfc3339();
    let processed = format!("task_activity WHERE occurred_at > '{now}'");
    eventually_within(SETTLED, "writes are answered and processed", || async {
        let answered = traffic.answered.load(Ordering::Relaxed) >= until;
        (answered && db.count(&processed).await > 0).then_some(())
    })
    .await;
}

/// Waits until every event is published, and processed or dead. If that takes too long, whatever is
/// missing shows when it is reconciled.
async fn rest(system: &System, patience: Duration) {
    let started = Instant::now();
    while started.elapsed() < patience {
        let found = Evidence::gather(system).await;
        let dead = found.dead();
        let settled = found.events.iter().all(|event| {
            event.published
                && found.activity.contains_key(&event.id)
                && found.others.contains_key(&event.id)
                && found.delivered.iter().all(|hook| hook.has(&event.id))
                && (found.mails.contains_key(&event.id) || dead.contains(event.id.as_str()))
        });
        if settled && system.private.messages(&system.queues().await) == Some(0) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Reconciles, then replays every dead letter and looks whether that brings what it is to.
async fn conclude(
    system: &System,
    (met, told): (&client::Met, &[followers::Told]),
    injected: &[Injected],
    defect: Option<&str>,
) {
    let found = Evidence::gather(system).await;
    let mut outcome = reconcile::reconcile(met, &found, injected);
    outcome.violations.extend(followers::wrong(told, &found));
    let (wrong, repeated) = receivers::wrong(&found, injected);
    outcome.violations.extend(wrong);
    for fallen in system.fallen().into_iter().chain(system.panics()) {
        outcome.violations.push(reconcile::Violation { what: fallen, events: Vec::new() });
    }
    let replayed = replay(system, &found).await;
    outcome.violations.extend(replayed);
    println!("{}", report::table(met, &found, injected, &outcome));
    println!("{}", followers::summary(told));
    println!("{}", receivers::summary(&found, &repeated));
    println!("{}", report::details(system, &found, &outcome));
    let Some(defect) = defect else {
        // Once more, at the very end of the log: it may be all of it that is kept.
        let told: Vec<&str> = outcome.violations.iter().map(|v| v.what.as_str()).take(10).collect();
        assert!(told.is_empty(), "{} violations: {told:#?}", outcome.violations.len());
        return;
    };
    let noticed_by = NOTICED_BY.iter().find(|(known, _)| *known == defect);
    let (_, what) = noticed_by.unwrap_or_else(|| panic!("there is no defect {defect:?}"));
    let noticed = outcome.violations.iter().filter(|v| v.what.starts_with(what)).count();
    assert!(noticed > 0, "the defect {defect} was not noticed by: {what}");
    println!("the defect {defect} was noticed {noticed} times by: {what}");
}

/// With the mail server well again, every dead letter that is replayed has its mail, and nothing has its
/// database effect again. Where there was a mail before, of another copy of the message or with its answer
/// lost, there is one more at most.
async fn replay(system: &System, found: &Evidence) -> Vec<reconcile::Violation> {
    let dead = found.dead();
    if dead.is_empty() {
        return Vec::new();
    }
    system.smtp.set(Verdict::Accept);
    // By the ids of letters: a forged one names the event of a letter of ours.
    let ids = found.of_ours().filter_map(|letter| letter["id"].as_str());
    let arguments: Vec<&str> = ["dlq", "replay"].into_iter().chain(ids).collect();
    system.command(&arguments).await;
    rest(system, SETTLED).await;
    let after = Evidence::gather(system).await;
    let wrong = |id: &&&str| {
        let before = found.mails.get(**id).map_or(0, Vec::len);
        let mails = after.mails.get(**id).map_or(0, Vec::len);
        let activity = after.activity.get(**id).map_or(0, Vec::len);
        activity != 1 || mails == 0 || mails > before + 1
    };
    let wrong = dead.iter().filter(wrong).map(|id| reconcile::Violation {
        what: "a dead letter that was replayed has no mail, or an effect too many".to_owned(),
        events: vec![(*id).to_owned()],
    });
    wrong.collect()
}
