//! `taskd ps`: which processes serve and work, and whether one is missing.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};

use super::source::SourceArgs;
use crate::config::DataArgs;
use crate::ground::output;
use crate::http::routes::operator::socket;
use crate::operate::presence::{self, ProcessList};

/// Options of `taskd ps`.
#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        &self.source.data
    }
}

/// Lists the processes.
///
/// # Errors
/// The configuration is wrong, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let listed = args
        .source
        .give(socket::PROCESSES, &(), async |connection| Ok(presence::list(connection).await?));
    let listed: ProcessList = listed.await?;
    if args.json {
        output::print(serde_json::to_string_pretty(&listed)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(format_args!(
        "{:6}  {:20}  {:8}  {:16}  {:>8}  {:20}  {:7}  {:20}  STATE",
        "ROLE", "NAME", "VERSION", "HOST", "PROCESS", "STARTED", "IN HAND", "LAST PROGRESS"
    ))?;
    for process in &listed.processes {
        output::print(format_args!(
            "{:6}  {:20}  {:8}  {:16}  {:>8}  {:20}  {:7}  {:20}  {}",
            process.role,
            process.name,
            process.version,
            process.host,
            process.pid,
            time(process.started_at),
            process.in_hand,
            process.last_progress_at.map_or("-".to_owned(), time),
            match process.state.as_str() {
                "alive" => "alive".to_owned(),
                _ => format!("silent since {}", time(process.seen_at)),
            },
        ))?;
    }
    for finding in &listed.findings {
        output::print(&finding.message)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
