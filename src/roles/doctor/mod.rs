//! `taskd doctor`: what is wrong, what it is about, and the command that mends it.

mod args;
mod configuration;
mod examine;
mod print;
mod variables;

use std::process::ExitCode;

use serde::Serialize;

pub use self::args::Args;
pub use self::variables::Invocation;
use self::variables::Variable;
use crate::ground::output;
use crate::operate::doctor::{DatabaseReport, OUTSIDE, State, Verdict, canary::Flight, examine};

/// All that was found.
#[derive(Serialize)]
struct Report {
    /// Whether everything works; warnings don't count.
    ok: bool,
    checks: Vec<Verdict>,
    canary: Option<Flight>,
    variables: Vec<Variable>,
}

/// Examines everything. Exits 1 if something doesn't work.
///
/// # Errors
/// Standard output can't be written.
pub async fn run(args: Args, invocation: &Invocation) -> anyhow::Result<ExitCode> {
    let variables = variables::all(invocation);
    let (settings, mut checks) = configuration::read(&args, invocation, &variables);
    let database = examine::database(&args, &settings);
    let outside = examine(OUTSIDE, &settings.dependencies);
    let (DatabaseReport { checks: of_database, canary }, outside) = tokio::join!(database, outside);
    // The canary comes last: it goes through all that the others are about.
    let (canaries, of_database): (Vec<_>, Vec<_>) =
        of_database.into_iter().partition(|verdict| verdict.name == "canary");
    checks.extend(of_database.into_iter().chain(outside).chain(canaries));
    let ok = checks.iter().all(|verdict| verdict.state != State::Fail);
    let report = Report { ok, checks, canary, variables };
    match args.json {
        true => output::print(serde_json::to_string_pretty(&report)?)?,
        false => print::report(&report, args.variables)?,
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
