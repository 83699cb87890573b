//! The checks of what serves and works, and of what waits for it.

use chrono::Utc;

use super::database::told;
use super::wording::{count, words};
use super::{Patient, Verdict};
use crate::domain::presence::{Finding, Process, Role, Seen, TWO_VERSIONS};
use crate::operate::presence;
use crate::store::operation::inspect;

/// An event is published within milliseconds, or ten seconds later if its process was killed.
const OLD_EVENT_SECONDS: f64 = 30.0;

/// What is to be said of a finding about processes.
pub(in crate::operate) fn of_finding(of: &Patient, finding: &Finding) -> Verdict {
    let (message, worker) = (finding.message.clone(), of.start(Role::Work));
    match (finding.code, &finding.process) {
        (TWO_VERSIONS, _) => {
            let mend = "taskd ps  # then replace those of the older version";
            Verdict::warn(message, "processes", mend)
        }
        (_, Some(Process { pid, host, .. })) => {
            let mend = format!("kill {pid}  # on {host}, and start it again: {worker}");
            Verdict::fail(message, "processes", mend)
        }
        (_, None) => Verdict::fail(message, "processes", worker),
    }
}

/// What is to be said of an outbox whose oldest event is so many seconds old, if that is long.
pub(in crate::operate) fn of_outbox(of: &Patient, processes: &[Seen], age: f64) -> Option<Verdict> {
    if age < OLD_EVENT_SECONDS {
        return None;
    }
    let publishes = processes.iter().any(|seen| seen.is_alive() && seen.process.role.publishes());
    let (why, mend) = match publishes {
        true => ("the broker takes none", "taskd topology check".to_owned()),
        false => ("nobody publishes them", of.start(Role::Serve)),
    };
    let found = format!("events have waited to be published for {}: {why}", words(age));
    Some(Verdict::fail(found, "events", mend))
}

pub(super) async fn processes(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let (processes, findings) = presence::look(&mut *of.store.connection().await?).await?;
        let alive: Vec<&Seen> = processes.iter().filter(|seen| seen.is_alive()).collect();
        let mut verdicts: Vec<Verdict> =
            findings.iter().map(|finding| of_finding(&of, finding)).collect();
        let number =
            |what: fn(Role) -> bool| alive.iter().filter(|seen| what(seen.process.role)).count();
        let (workers, servers) = (number(Role::works), number(Role::publishes));
        if servers == 0 {
            let found = "nobody serves the API or publishes events (no serve is running)";
            verdicts.push(Verdict::fail(found, "processes", of.start(Role::Serve)));
        }
        if verdicts.is_empty() {
            let (working, serving) = (count(workers, "worker"), count(servers, "server"));
            verdicts.push(Verdict::ok(format!("{working} and {serving} of the API are there")));
        }
        Ok(verdicts)
    };
    told(checked.await)
}

pub(super) async fn outbox(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let mut connection = of.store.connection().await?;
        let Some(age) = inspect::outbox(&mut connection, 1).await?.oldest_seconds else {
            return Ok(vec![Verdict::ok("every event is published")]);
        };
        let (processes, _) = presence::look(&mut connection).await?;
        Ok(vec![
            of_outbox(&of, &processes, age)
                .unwrap_or_else(|| Verdict::ok("the events that wait to be published are new")),
        ])
    };
    told(checked.await)
}

pub(super) async fn claims(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let stuck = inspect::stuck_claims(&mut *of.store.connection().await?).await?;
        let (Some(event), Some(since)) = (stuck.event_id, stuck.since) else {
            return Ok(vec![Verdict::ok("no claim has outlived its lease")]);
        };
        let ago = words((Utc::now() - since).as_seconds_f64());
        let number = count(stuck.count, "claim");
        let found = format!(
            "{number} of effects whose lease ended up to {ago} ago: their workers died, and no worker has taken the events again"
        );
        let mend = format!(
            "taskd events show {event}  # why; a worker ({}) goes on with what waits",
            of.start(Role::Work)
        );
        Ok(vec![Verdict::fail(found, "processed_messages", mend)])
    };
    told(checked.await)
}

pub(super) async fn replays(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let forsaken = inspect::forsaken_replays(&mut *of.store.connection().await?).await?;
        if forsaken.is_empty() {
            return Ok(vec![Verdict::ok("none waits for a worker")]);
        }
        let ids: Vec<String> = forsaken.iter().map(i64::to_string).collect();
        let found = format!("no worker carries out: replay {}", ids.join(", "));
        Ok(vec![Verdict::fail(found, "replays", of.start(Role::Work))])
    };
    told(checked.await)
}

pub(super) async fn letters(of: Patient) -> Vec<Verdict> {
    let checked = async {
        let open = inspect::open_letters(&mut *of.store.connection().await?).await?;
        if open.letters == 0 {
            return Ok(vec![Verdict::ok("none is open")]);
        }
        let growing = match open.growing {
            0 => String::new(),
            number => format!("; {} grew in the last five minutes", count(number, "cause")),
        };
        let (letters, causes) = (count(open.letters, "letter"), count(open.causes, "cause"));
        let found = format!("{letters} of {causes} open{growing}");
        Ok(vec![Verdict::warn(found, "dead_letters", "taskd dlq groups")])
    };
    told(checked.await)
}
