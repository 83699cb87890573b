//! Measures taskd against real services, each figure beside its limit: what the services alone
//! do on the same machine in the same minute.
//!
//! `scripts/bench` runs it. A figure that is slow fails nothing; work that is lost does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a helper that fails fails the run"
)]

mod consoles;
mod creates;
mod drains;
mod endpoints;
mod followers;
mod growth;
mod idle;
mod latency;
mod limits;
mod lists;
mod picture;
mod recovery;
mod report;
mod sink;
mod system;
mod tools;
mod up;
mod webhooks;

use report::{Reading, Report};

/// How much is done in a round.
#[derive(Clone, Copy)]
pub struct Size {
    pub quick: bool,
}

impl Size {
    /// How long a load lasts, in seconds.
    pub fn seconds(self) -> u64 {
        if self.quick { 3 } else { 8 }
    }

    /// So many, or a fifth of them.
    pub fn count(self, full: usize) -> usize {
        if self.quick { full / 5 } else { full }
    }
}

const NAMES: [&str; 17] = [
    "create-64",
    "create-1",
    "list-warm",
    "list-cold",
    "drain-activity",
    "drain-email",
    "drain-retry",
    "latency-100",
    "latency-1000",
    "killed",
    "frozen",
    "up",
    "idle",
    "consoles",
    "followers-1000",
    "followers-100",
    "webhooks",
];

/// What the size of things costs; minutes each, and measured when it is asked for.
const GROWTH: [&str; 6] = [
    "growth-lists",
    "growth-outbox",
    "growth-records",
    "growth-backlog",
    "growth-waits",
    "growth-webhooks",
];

async fn measure(name: &str, size: Size) -> Vec<Reading> {
    match name {
        "create-64" => creates::run(size, 64).await,
        "create-1" => creates::run(size, 1).await,
        "drain-activity" => drains::activity(size).await,
        "drain-email" => drains::email(size).await,
        "drain-retry" => drains::retry(size).await,
        "list-warm" => lists::warm(size).await,
        "list-cold" => lists::cold(size).await,
        "latency-100" => latency::run(size, 100).await,
        "latency-1000" => latency::run(size, 1_000).await,
        "killed" => recovery::killed().await,
        "frozen" => recovery::frozen().await,
        "up" => up::run(size).await,
        "idle" => idle::run(size).await,
        "consoles" => consoles::run(size).await,
        "followers-1000" => followers::run(size, 1_000, 50.0).await,
        "followers-100" => followers::run(size, 100, 500.0).await,
        "webhooks" => webhooks::run(size.count(5_000)).await,
        "growth-webhooks" => webhooks::run(size.count(50_000)).await,
        "growth-lists" => growth::lists(size).await,
        "growth-outbox" => growth::outbox(size).await,
        "growth-records" => growth::records(size).await,
        "growth-backlog" => growth::backlog(size).await,
        "growth-waits" => growth::waits(size).await,
        _ => {
            let names = [&NAMES[..], &GROWTH[..]].concat().join(", ");
            panic!("no measurement is called {name:?}; there are: {names}")
        }
    }
}

#[tokio::main]
async fn main() {
    let (mut quick, mut only, mut json, mut svg) = (false, Vec::new(), None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says so to every bench.
            "--bench" => {}
            "--quick" => quick = true,
            "--growth" => only.extend(GROWTH.map(str::to_owned)),
            "--only" => only.push(arguments.next().expect("--only needs a name")),
            "--json" => json = Some(arguments.next().expect("--json needs a file")),
            "--svg" => svg = Some(arguments.next().expect("--svg needs a file")),
            _ => panic!("unknown argument {argument:?}"),
        }
    }
    let size = Size { quick };
    let names: Vec<String> = if only.is_empty() { NAMES.map(str::to_owned).to_vec() } else { only };
    let growth = names.iter().any(|name| GROWTH.contains(&name.as_str()));
    let rounds = if quick || growth { 1 } else { 3 };
    let mut report = Report::new(rounds);
    for round in 1..=rounds {
        for name in &names {
            eprintln!("round {round} of {rounds}: {name}");
            for reading in measure(name, size).await {
                report.add(name, reading);
            }
        }
    }
    report.print();
    for (file, text) in [(json, report.json()), (svg, report.svg())] {
        if let Some(file) = file {
            std::fs::write(&file, text).unwrap();
        }
    }
}
