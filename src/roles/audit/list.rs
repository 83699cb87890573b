//! `taskd audit list`.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};

use super::super::source::SourceArgs;
use crate::config::{self, whole};
use crate::ground::output;
use crate::http::routes::operator::socket::{self, AuditOrder};
use crate::operate::AuditEntry;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only this action, such as replay or discard
    #[arg(long)]
    action: Option<String>,
    /// Only by this actor, such as "user 1"
    #[arg(long)]
    actor: Option<String>,
    /// Only since then: an RFC 3339 time, or how long ago, such as 2h
    #[arg(long, value_parser = config::since)]
    since: Option<DateTime<Utc>>,
    /// How many to list at most
    #[arg(long, default_value_t = 50, value_parser = whole(1..=100_000_u32))]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let ListArgs { action, actor, since, limit, .. } = &args;
    let order =
        AuditOrder { action: action.clone(), actor: actor.clone(), since: *since, limit: *limit };
    let listed =
        args.source.give(socket::AUDIT, &order, async |connection| order.list(connection).await);
    let entries: Vec<AuditEntry> = listed.await?;
    if args.json {
        output::print(serde_json::to_string_pretty(&entries)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(format_args!(
        "{:20}  {:24}  {:14}  {:24}  {:16}  DETAILS",
        "AT", "WHO", "WHAT", "TO WHAT", "FROM"
    ))?;
    for entry in &entries {
        output::print(format_args!(
            "{:20}  {:24}  {:14}  {:24}  {:16}  {}{}",
            entry.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            entry.actor,
            entry.action,
            entry.target.as_deref().unwrap_or("-"),
            entry.origin.as_deref().unwrap_or("-"),
            if entry.dry_run { "dry run " } else { "" },
            entry.details,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
