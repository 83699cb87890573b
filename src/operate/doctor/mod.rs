//! `taskd doctor`: what is wrong, what it is about, and the command that mends it.
//!
//! A check is a function and a line in a list: [`DATABASE`] for what the database tells,
//! [`OUTSIDE`] for the other dependencies. The checks run side by side, each with a time limit, so
//! one that hangs or fails hides no other.

pub mod canary;
mod database;
mod examination;
pub(in crate::operate) mod gates;
mod outside;
mod variable;
pub(in crate::operate) mod wording;
pub(in crate::operate) mod work;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::database::reach;
pub use self::examination::{Configuration, Examination, Report};
pub use self::outside::{Dependencies, Mail, Setting};
pub use self::variable::{Source, Variable};
pub use self::wording::{quoted, rename};
use crate::domain::presence::Role;
use crate::store::Store;

/// How long a check may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// What is checked in the database.
pub const DATABASE: &[Check<Patient>] = &[
    Check { name: "database", about: "DATABASE_URL", run: |of| Box::pin(database::server(of)) },
    Check { name: "schema", about: "DATABASE_URL", run: |of| Box::pin(database::schema(of)) },
    Check { name: "clock", about: "DATABASE_URL", run: |of| Box::pin(database::clock(of)) },
    Check { name: "processes", about: "processes", run: |of| Box::pin(work::processes(of)) },
    Check { name: "effects", about: "effect_gates", run: |of| Box::pin(gates::effects(of)) },
    Check { name: "outbox", about: "events", run: |of| Box::pin(work::outbox(of)) },
    Check { name: "claims", about: "processed_messages", run: |of| Box::pin(work::claims(of)) },
    Check { name: "replays", about: "replays", run: |of| Box::pin(work::replays(of)) },
    Check { name: "dead letters", about: "dead_letters", run: |of| Box::pin(work::letters(of)) },
];

/// What is checked of the other dependencies.
pub const OUTSIDE: &[Check<Dependencies>] = &[
    Check { name: "broker", about: "RABBITMQ_URL", run: |of| Box::pin(outside::broker(of)) },
    Check { name: "topology", about: "RABBITMQ_URL", run: |of| Box::pin(outside::topology(of)) },
    Check { name: "cache", about: "REDIS_URL", run: |of| Box::pin(outside::cache(of)) },
    Check { name: "mail", about: "SMTP_URL", run: |of| Box::pin(outside::mail(of)) },
];

/// A check of something of type `T`.
pub struct Check<T: 'static> {
    /// What it is called.
    pub name: &'static str,
    /// The variable or the table that it is about, if it gives no answer.
    pub about: &'static str,
    run: fn(T) -> BoxFuture<'static, Vec<Verdict>>,
}

/// A database that is examined.
#[derive(Clone)]
pub struct Patient {
    /// The database.
    pub store: Store,
    /// Whether it is that of a `taskd up`, which alone serves and works on it.
    pub embedded: bool,
}

impl Patient {
    /// The command that starts a process of this role.
    pub(in crate::operate) fn start(&self, role: Role) -> String {
        let role = if self.embedded { Role::Up } else { role };
        format!("taskd {}", role.as_str())
    }
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It doesn't work.
    Fail,
}

impl State {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The name of the check.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// The variable, the queue or the table that the fault is about.
    pub about: Option<String>,
    /// The command that mends it.
    pub mend: Option<String>,
}

impl Verdict {
    /// All is well.
    pub fn ok(found: impl Into<String>) -> Verdict {
        Verdict::new(State::Ok, found.into(), None, None)
    }

    /// Somebody should look at this.
    pub fn warn(found: impl Into<String>, about: &str, mend: impl Into<String>) -> Verdict {
        Verdict::new(State::Warn, found.into(), Some(about.to_owned()), Some(mend.into()))
    }

    /// This doesn't work.
    pub fn fail(found: impl Into<String>, about: &str, mend: impl Into<String>) -> Verdict {
        Verdict::new(State::Fail, found.into(), Some(about.to_owned()), Some(mend.into()))
    }

    /// This could not be checked, because of something that another check tells of.
    pub fn unknown(why: &str) -> Verdict {
        Verdict::new(State::Warn, format!("not checked: {why}"), None, None)
    }

    /// The same, of the check with this name.
    pub fn of(self, name: &str) -> Verdict {
        Verdict { name: name.to_owned(), ..self }
    }

    fn new(state: State, found: String, about: Option<String>, mend: Option<String>) -> Verdict {
        Verdict { name: String::new(), state, found, about, mend }
    }
}

/// Carries out all these checks side by side. The verdicts are in the order of the checks.
pub async fn examine<T: Clone + Send>(checks: &'static [Check<T>], patient: &T) -> Vec<Verdict> {
    // In tasks: a check that panics is a verdict too.
    let running: Vec<_> = checks
        .iter()
        .map(|check| {
            (check, tokio::spawn(tokio::time::timeout(LIMIT, (check.run)(patient.clone()))))
        })
        .collect();
    let mut verdicts = Vec::new();
    for (check, task) in running {
        let found = match task.await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => {
                let silence = format!("no answer within {} s", LIMIT.as_secs());
                vec![Verdict::fail(silence, check.about, wording::restart(check.about))]
            }
            Err(_) => {
                let told =
                    "the check itself has failed: report this with the line about it in the log";
                vec![Verdict::fail(told, check.about, "TASKD_LOG=debug taskd doctor")]
            }
        };
        verdicts.extend(found.into_iter().map(|verdict| verdict.of(check.name)));
    }
    verdicts
}

/// The verdict of each check of the database if it can't be used for this reason.
pub fn without_database(told: &Verdict) -> Vec<Verdict> {
    let mut verdicts = vec![told.clone().of("database")];
    let others = DATABASE.iter().filter(|check| check.name != "database");
    verdicts
        .extend(others.map(|check| Verdict::unknown("the database can't be used").of(check.name)));
    verdicts
}

/// What was found in the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseReport {
    /// A verdict or more for each check.
    pub checks: Vec<Verdict>,
    /// What became of the canary, if one was sent.
    pub canary: Option<canary::Flight>,
}

/// Examines the database, and sends a canary through everything if `canary` says how long it may
/// take.
pub async fn examine_database(patient: &Patient, canary: Option<Duration>) -> DatabaseReport {
    let mut checks = examine(DATABASE, patient).await;
    // Without its tables, each of the others fails for the same reason.
    let behind = |verdict: &Verdict| verdict.name == "schema" && verdict.state == State::Fail;
    if checks.iter().any(behind) {
        for verdict in &mut checks {
            let depends = !["database", "schema", "clock"].contains(&verdict.name.as_str());
            if depends && verdict.state == State::Fail {
                *verdict = Verdict::unknown("the schema is behind").of(&verdict.name);
            }
        }
    }
    let Some(limit) = canary else { return DatabaseReport { checks, canary: None } };
    let (verdict, flight) = canary::send(patient, limit).await;
    checks.push(verdict.of("canary"));
    DatabaseReport { checks, canary: Some(flight) }
}
