//! `taskd effects`: which effects run, and stopping one while the others go on.

mod args;
mod print;

use std::process::ExitCode;

use self::args::{ListArgs, PauseArgs, ResumeArgs};
use crate::config::DataArgs;
use crate::gates::{EffectOrder, EffectView};
use crate::ground::output;
use crate::http::routes::operator::socket::{self, OrderBy};
use crate::operate::Operator;

/// Options of `taskd effects`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the effects: which run, are paused, or wait until the other side is back
    List(ListArgs),
    /// Keep an effect from running; what is for it waits
    Pause(PauseArgs),
    /// Let an effect run again; what has waited comes back
    Resume(ResumeArgs),
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        match &self.command {
            Command::List(args) => &args.source.data,
            Command::Pause(args) => &args.one.source.data,
            Command::Resume(args) => &args.source.data,
        }
    }
}

/// Lists the effects, pauses one or resumes one.
///
/// # Errors
/// The configuration is wrong, there is no such effect, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (order, json, source) = match args.command {
        Command::List(args) => (EffectOrder::List, args.json, args.source),
        Command::Pause(PauseArgs { reason, one }) => {
            let ResumeArgs { name: effect, dry_run, json, source } = one;
            (EffectOrder::Pause { effect, reason, dry_run }, json, source)
        }
        Command::Resume(ResumeArgs { name: effect, dry_run, json, source }) => {
            (EffectOrder::Resume { effect, dry_run }, json, source)
        }
    };
    let order = OrderBy { order, by: Operator::of_command_line() };
    let obeyed = source.give(socket::EFFECTS, &order, async |connection| {
        order.order.obey(connection, &order.by).await
    });
    let effects: Vec<EffectView> = obeyed.await?;
    match json {
        true => output::print(serde_json::to_string_pretty(&effects)?)?,
        false => print::table(&effects)?,
    }
    Ok(ExitCode::SUCCESS)
}
