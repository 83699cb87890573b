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

mod creates;
mod drains;
#[path = "../it/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the other tests")]
mod harness;
mod limits;
mod report;
mod sink;
mod system;
mod tools;

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

const NAMES: [&str; 5] = ["create-64", "create-1", "drain-activity", "drain-email", "drain-retry"];

async fn measure(name: &str, size: Size) -> Vec<Reading> {
    match name {
        "create-64" => creates::run(size, 64).await,
        "create-1" => creates::run(size, 1).await,
        "drain-activity" => drains::activity(size).await,
        "drain-email" => drains::email(size).await,
        "drain-retry" => drains::retry(size).await,
        _ => panic!("no measurement is called {name:?}; there are: {}", NAMES.join(", ")),
    }
}

#[tokio::main]
async fn main() {
    let (mut quick, mut only, mut json) = (false, Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says so to every bench.
            "--bench" => {}
            "--quick" => quick = true,
            "--only" => only.push(arguments.next().expect("--only needs a name")),
            "--json" => json = Some(arguments.next().expect("--json needs a file")),
            _ => panic!("unknown argument {argument:?}"),
        }
    }
    let size = Size { quick };
    let names: Vec<String> = if only.is_empty() { NAMES.map(str::to_owned).to_vec() } else { only };
    let rounds = if quick { 1 } else { 3 };
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
    if let Some(file) = json {
        std::fs::write(&file, report.json()).unwrap();
    }
}
