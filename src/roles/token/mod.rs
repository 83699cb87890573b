//! `taskd token`: makes the first token, for which nobody could ask the API, and lists and revokes
//! all.

mod create;
mod list;

use std::process::ExitCode;

use crate::config::DataArgs;

/// Options of `taskd token`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make an API token and print it, this once
    Create(create::CreateArgs),
    /// List API tokens and sessions, without the tokens themselves
    List(list::ListArgs),
    /// End API tokens and sessions
    Revoke(list::RevokeArgs),
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        match &self.command {
            Command::Create(args) => &args.source.data,
            Command::List(args) => &args.source.data,
            Command::Revoke(args) => &args.source.data,
        }
    }
}

/// Makes a token, or lists or revokes tokens.
///
/// # Errors
/// The configuration is wrong, there is no such user, the token can't be printed, or the database
/// fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Create(args) => create::create(args).await,
        Command::List(args) => list::list(args).await,
        Command::Revoke(args) => list::revoke(args).await,
    }
}
