//! `taskd audit`: what operators did, and who tried to sign in.

mod list;

use std::process::ExitCode;

use crate::config::DataArgs;

/// Options of `taskd audit`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List what operators did, newest first
    List(list::ListArgs),
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        let Command::List(args) = &self.command;
        &args.source.data
    }
}

/// Lists the audit log.
///
/// # Errors
/// The configuration is wrong, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::List(args) = args.command;
    list::list(args).await
}
