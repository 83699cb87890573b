//! `taskd doctor`: what is wrong, what it is about, and the command that mends it.

mod args;
mod examine;
mod print;

use std::process::ExitCode;

pub use self::args::Args;
use super::configuration::{self, Invocation};
use crate::ground::output;
use crate::operate::doctor::{OUTSIDE, Report, examine};

/// Examines everything. Exits 1 if something doesn't work.
///
/// # Errors
/// Standard output can't be written.
pub async fn run(args: Args, invocation: &Invocation) -> anyhow::Result<ExitCode> {
    let variables = configuration::variables(invocation);
    let (settings, configuration) = configuration::read(&args.examined(), invocation, &variables);
    let database = examine::database(&args, &settings);
    let outside = examine(OUTSIDE, &settings.dependencies);
    let (database, outside) = tokio::join!(database, outside);
    let report = Report::of(configuration, database, outside, variables);
    match args.json {
        true => output::print(serde_json::to_string_pretty(&report)?)?,
        false => print::report(&report, args.variables)?,
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
