//! `taskd events`: what became of events.

mod list;
mod print;
mod show;

use std::process::ExitCode;

use crate::config::DataArgs;

/// Options of `taskd events`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List events, newest first
    List(list::ListArgs),
    /// Tell the story of an event, and why it is not done
    Show(show::ShowArgs),
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        match &self.command {
            Command::List(args) => &args.source.data,
            Command::Show(args) => &args.source.data,
        }
    }
}

/// Lists events or shows one.
///
/// # Errors
/// The configuration is wrong, there is no such event, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list::list(args).await,
        Command::Show(args) => show::show(args).await,
    }
}
