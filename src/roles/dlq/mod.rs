//! `taskd dlq`: dead letters.

mod args;
mod discard;
mod edit;
mod look;
mod order;
mod print;
mod replay;

use std::process::ExitCode;

use serde::Serialize;

use self::args::Action;
pub use self::args::Args;
use crate::ground::output;

/// Lists, shows, replays, edits or discards. Exits 1 if an id was not found, or if a replay did not
/// get all letters done.
///
/// # Errors
/// The configuration is wrong, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => look::list(args).await,
        Action::Show(args) => look::show(args).await,
        Action::Groups(args) => look::groups(args).await,
        Action::Replay(args) => replay::replay(args).await,
        Action::Replays(args) => look::replays(args).await,
        Action::Stop(args) => replay::stop(args).await,
        Action::Resume(args) => replay::resume(args).await,
        Action::Edit(args) => edit::edit(args).await,
        Action::Discard(args) => discard::discard(&args).await,
    }
}

fn json(document: &impl Serialize) -> anyhow::Result<()> {
    Ok(output::print(serde_json::to_string_pretty(document)?)?)
}

fn missed(ids: &[String]) -> ExitCode {
    for id in ids {
        output::complain(format_args!("there is no dead letter {id} of that sort"));
    }
    if ids.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
