//! Who is there: the processes that serve and work, and what is to be said of them. For people
//! alone: nothing correct depends on it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::processing::state::clock;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API and the publisher.
    Serve,
    /// A worker.
    Work,
    /// Both in one process.
    Up,
}

impl Role {
    const ALL: [Role; 3] = [Role::Serve, Role::Work, Role::Up];

    /// Its name, which is that of the command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Serve => "serve",
            Role::Work => "work",
            Role::Up => "up",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether it consumes events.
    pub const fn works(self) -> bool {
        matches!(self, Role::Work | Role::Up)
    }

    /// Whether it publishes events.
    pub const fn publishes(self) -> bool {
        matches!(self, Role::Serve | Role::Up)
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Tells it from every other, whatever they are called.
    pub id: Uuid,
    /// What it does.
    pub role: Role,
    /// The worker's name, or the host's name and the process id.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// The machine it runs on.
    pub host: String,
    /// Its id on that machine.
    pub pid: i64,
}

/// A process as it was last seen, by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which process.
    pub process: Process,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last said that it is there.
    pub seen_at: DateTime<Utc>,
    /// When this was read.
    pub read_at: DateTime<Utc>,
    /// How many deliveries it has in hand, or requests, if it has no worker.
    pub in_hand: i64,
    /// Since when there has always been one.
    pub busy_since: Option<DateTime<Utc>>,
    /// When it last settled a delivery, or answered a request.
    pub last_progress_at: Option<DateTime<Utc>>,
}

/// How long a process may be silent and still counts as alive: it notes its presence every three
/// seconds.
pub const ALIVE_FOR: TimeDelta = TimeDelta::seconds(15);

/// How long a worker with something to do may settle nothing. No effect takes half as long.
pub const PROGRESS_WITHIN: TimeDelta = TimeDelta::seconds(60);

impl Seen {
    /// Whether it was seen a moment ago.
    pub fn is_alive(&self) -> bool {
        self.read_at - self.seen_at <= ALIVE_FOR
    }

    /// Its state, by name.
    pub fn state(&self) -> &'static str {
        if self.is_alive() { "alive" } else { "silent" }
    }

    /// Since when it has settled nothing, while it had deliveries in hand or events waited since
    /// `queued_since`; `None` if it gets on, or has nothing to do.
    fn stuck_since(&self, queued_since: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let had_work_since = [self.busy_since, queued_since].into_iter().flatten().min()?;
        let since = had_work_since.max(self.last_progress_at.unwrap_or(self.started_at));
        (self.read_at - since > PROGRESS_WITHIN).then_some(since)
    }
}

/// Something about the processes that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for programs.
    pub code: &'static str,
    /// What it is, for people.
    pub message: String,
    /// Since when, if that is known.
    pub since: Option<DateTime<Utc>>,
    /// The process it is about, if it is one.
    pub process: Option<Process>,
}

/// The code of [`Finding`]s about workers that are absent.
pub const NO_WORKER: &str = "no_worker";
/// The code of those about workers that settle nothing.
pub const WITHOUT_PROGRESS: &str = "worker_without_progress";
/// The code of those about workers that differ.
pub const TWO_VERSIONS: &str = "two_versions";

/// What is to be said of these processes; `queued_since` is when the oldest event in the queue came
/// there.
pub fn findings(
    processes: &[Seen],
    queued_since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Finding> {
    let finding = |code, message, since| Finding { code, message, since, process: None };
    let mut found = Vec::new();
    if let Some(why) = no_worker(processes, now) {
        found.push(finding(NO_WORKER, why, last_seen_worker(processes)));
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for seen in processes.iter().filter(|seen| seen.is_alive() && seen.process.role.works()) {
        let Process { name, version, host, pid, .. } = &seen.process;
        versions.entry(version).or_default().push(name);
        if let Some(since) = seen.stuck_since(queued_since) {
            let work = match seen.in_hand {
                0 => "events wait in the queue".to_owned(),
                count => format!("it has {count} deliveries in hand"),
            };
            let message = format!(
                "the worker {name} ({host}, process {pid}) has settled nothing since {}, and {work}",
                clock(since, seen.read_at)
            );
            let process = Some(seen.process.clone());
            let since = Some(since);
            found.push(Finding { code: WITHOUT_PROGRESS, message, since, process });
        }
    }
    if versions.len() > 1 {
        let each =
            versions.iter().map(|(version, names)| format!("{version} ({})", names.join(", ")));
        let each = each.collect::<Vec<_>>().join(" and ");
        let message = format!("workers of two versions are running: {each}");
        found.push(finding(TWO_VERSIONS, message, None));
    }
    found
}

/// When a worker was last seen.
fn last_seen_worker(processes: &[Seen]) -> Option<DateTime<Utc>> {
    let workers = processes.iter().filter(|seen| seen.process.role.works());
    workers.map(|seen| seen.seen_at).max()
}

/// That no worker is alive, in words; `None` if one is.
pub fn no_worker(processes: &[Seen], now: DateTime<Utc>) -> Option<String> {
    let workers = || processes.iter().filter(|seen| seen.process.role.works());
    if workers().any(Seen::is_alive) {
        return None;
    }
    Some(match last_seen_worker(processes) {
        Some(at) => {
            format!("no worker is consuming (none has been seen since {})", clock(at, now))
        }
        None => "no worker is consuming (none is running)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-11-24T{time}Z").parse().unwrap()
    }

    fn worker(name: &str, version: &str) -> Seen {
        Seen {
            process: Process {
                id: Uuid::nil(),
                role: Role::Work,
                name: name.to_owned(),
                version: version.to_owned(),
                host: "h".to_owned(),
                pid: 7,
            },
            started_at: at("13:00:00"),
            seen_at: at("14:00:00"),
            read_at: at("14:00:03"),
            in_hand: 0,
            busy_since: None,
            last_progress_at: None,
        }
    }

    fn found(processes: &[Seen], queued_since: Option<DateTime<Utc>>) -> Vec<Finding> {
        findings(processes, queued_since, at("14:00:03"))
    }

    fn codes(processes: &[Seen], queued_since: Option<DateTime<Utc>>) -> Vec<&'static str> {
        found(processes, queued_since).iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_worker_that_is_idle_or_gets_on_is_not_remarkable() {
        let idle = worker("w", "1");
        assert!(codes(std::slice::from_ref(&idle), None).is_empty());
        let just_begun = Seen { in_hand: 1, busy_since: Some(at("13:59:10")), ..idle.clone() };
        assert!(codes(&[just_begun], None).is_empty());
        let long_busy = Seen {
            in_hand: 5,
            busy_since: Some(at("13:10:00")),
            last_progress_at: Some(at("13:59:50")),
            ..idle.clone()
        };
        assert!(codes(&[long_busy], Some(at("13:20:00"))).is_empty());
        assert!(codes(&[idle], Some(at("13:59:30"))).is_empty());
    }

    #[test]
    fn the_three_troubles_are_told_apart() {
        let silent = Seen { seen_at: at("13:40:00"), ..worker("w", "1") };
        let of_silent = found(std::slice::from_ref(&silent), Some(at("13:20:00")));
        assert_eq!(of_silent.len(), 1, "of a silent process nothing else is known");
        let why = &of_silent[0].message;
        assert!(why.contains("none has been seen since 13:40:00 UTC"), "{why}");
        assert_eq!(of_silent[0].since, Some(at("13:40:00")));
        assert_eq!(codes(&[], None), [NO_WORKER]);
        let serve = Seen {
            process: Process { role: Role::Serve, ..silent.process.clone() },
            ..worker("s", "1")
        };
        assert_eq!(codes(&[serve], None), [NO_WORKER]);

        let busy = Seen { in_hand: 2, busy_since: Some(at("13:58:00")), ..worker("w", "1") };
        let of_busy = found(&[busy], None);
        assert_eq!((of_busy[0].code, of_busy[0].since), (WITHOUT_PROGRESS, Some(at("13:58:00"))));
        let why = &of_busy[0].message;
        assert!(why.contains("since 13:58:00 UTC, and it has 2 deliveries in hand"), "{why}");
        assert_eq!(codes(&[worker("w", "1")], Some(at("13:30:00"))), [WITHOUT_PROGRESS]);

        let of_both = found(&[worker("a", "1"), worker("b", "2"), silent], None);
        assert_eq!(of_both.len(), 1);
        assert_eq!(of_both[0].message, "workers of two versions are running: 1 (a) and 2 (b)");
    }
}
