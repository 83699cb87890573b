//! `taskd dlq list`, `show`, `groups` and `replays`: looking changes nothing.

use std::process::ExitCode;

use super::args::{GroupsArgs, ListArgs, ReplaysArgs, ShowArgs};
use super::order::give;
use super::{json, missed, print};
use crate::dead_letters::{LetterGroup, LetterPage, Order, Replay, Report};

pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let limit = if args.all { u32::MAX } else { args.limit };
    let order = Order::List { state: args.state, filter: args.filter.filter(), limit };
    let page: LetterPage = give(&args.place, order).await?;
    match args.json {
        true => json(&page.letters)?,
        false => print::list(&page.letters, page.total)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let report: Report = give(&args.place, Order::Show { ids: vec![args.id] }).await?;
    match args.json {
        true => json(&report.letters)?,
        false => report.letters.iter().try_for_each(print::show)?,
    }
    Ok(missed(&report.not_found))
}

pub(super) async fn groups(args: GroupsArgs) -> anyhow::Result<ExitCode> {
    let groups: Vec<LetterGroup> = give(&args.place, Order::Groups).await?;
    match args.json {
        true => json(&groups)?,
        false => print::groups(&groups)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn replays(args: ReplaysArgs) -> anyhow::Result<ExitCode> {
    let replays: Vec<Replay> = give(&args.place, Order::Replays { limit: args.limit }).await?;
    match args.json {
        true => json(&replays)?,
        false => print::replays(&replays)?,
    }
    Ok(ExitCode::SUCCESS)
}
