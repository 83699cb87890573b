//! `taskd dlq`: dead letters.

mod args;
mod discard;
mod order;
mod print;

use std::process::ExitCode;

use anyhow::Context;

use self::args::Action;
pub use self::args::Args;
use self::order::give;
use crate::dead_letters::{DeadLetter, Order, Report, Selection};
use crate::ground::output;

/// Lists, shows, replays or discards. Exits 1 if an id was not found.
///
/// # Errors
/// The configuration is wrong, or the broker fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { place, limit, all, json } => {
            let limit = if all { usize::MAX } else { limit };
            let (letters, total): (Vec<DeadLetter>, u64) =
                give(&place, Order::List { limit }).await?;
            if json {
                output::print(serde_json::to_string_pretty(&letters)?)?;
            } else {
                print::list(&letters, total)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Show { place, id, json } => {
            let order = Order::Show { selection: Selection::Ids(vec![id]) };
            let report: Report = give(&place, order).await?;
            if json {
                output::print(serde_json::to_string_pretty(&report.letters)?)?;
            } else {
                report.letters.iter().try_for_each(print::show)?;
            }
            Ok(missed(&report))
        }
        Action::Replay(choice) => {
            let order = Order::Replay { selection: choice.selection()? };
            let report: Report = give(&choice.place, order).await?;
            let text = match choice.json {
                true => serde_json::to_string_pretty(&report)?,
                false => print::replayed(&report.letters),
            };
            output::print(text).with_context(|| format!("{} replayed", report.letters.len()))?;
            Ok(missed(&report))
        }
        Action::Discard(choice) => discard::discard(&choice).await,
    }
}

fn missed(report: &Report) -> ExitCode {
    for id in &report.not_found {
        output::complain(format_args!("there is no dead letter {id}"));
    }
    if report.not_found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
