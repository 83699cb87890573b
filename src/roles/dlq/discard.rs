//! `taskd dlq discard`.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::super::progress::Progress;
use super::args::DiscardArgs;
use super::order::give;
use super::{json, missed};
use crate::config::ConfigError;
use crate::dead_letters::{DiscardOrder, Discarded, Order};
use crate::ground::output;

/// Discards letters. Asks first, since nothing brings them back.
pub(super) async fn discard(args: &DiscardArgs) -> anyhow::Result<ExitCode> {
    let order = DiscardOrder {
        selection: args.selection.selection()?,
        reason: args.reason.clone(),
        dry_run: true,
    };
    if !args.dry_run && !args.yes && !confirmed(args, &order).await? {
        output::complain("nothing was discarded");
        return Ok(ExitCode::FAILURE);
    }
    let order = DiscardOrder { dry_run: args.dry_run, ..order };
    // One statement discards them all, so nothing can be counted before its end.
    let progress = Progress::new(args.quiet || args.json, "letters discarded so far");
    let discarding = give(&args.place, Order::Discard { order });
    let done: Discarded = progress.during(discarding, || 0).await?;
    match (args.json, args.dry_run) {
        (true, _) => json(&done)?,
        (false, true) => output::print(format_args!("{} would be discarded", done.count))?,
        (false, false) => output::print(format_args!("{} discarded", done.count))?,
    }
    Ok(missed(&done.not_found))
}

/// Asks whether to discard so many. Where nobody can answer, it has to be said in advance.
async fn confirmed(args: &DiscardArgs, order: &DiscardOrder) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let problem = "is needed where nobody can be asked: discarding can't be undone";
        return Err(ConfigError::new("--yes", problem).into());
    }
    let found: Discarded = give(&args.place, Order::Discard { order: order.clone() }).await?;
    eprint!("Discard {} dead letters for good? [y/N] ", found.count);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
