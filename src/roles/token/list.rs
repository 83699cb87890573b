//! `taskd token list` and `taskd token revoke`: listing and revoking tokens and sessions.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use super::super::source::SourceArgs;
use crate::access::{self, Revocation, Revoked, TokenFilter};
use crate::ground::output;
use crate::http::routes::operator::socket;
use crate::store::accounts::tokens::TokenWithUser;

/// Options of `taskd token list`.
#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Whose: a user's id or e-mail address; everybody's if nothing is said
    #[arg(long, value_name = "ID|EMAIL")]
    user: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

/// Options of `taskd token revoke`.
#[derive(clap::Args)]
pub(super) struct RevokeArgs {
    /// Their ids, as `taskd token list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "TOKEN_ID")]
    ids: Vec<i64>,
    /// Whose, with --all: a user's id or e-mail address
    #[arg(long, value_name = "ID|EMAIL", requires = "all")]
    user: Option<String>,
    /// All API tokens and sessions of the user
    #[arg(long, requires = "user")]
    all: bool,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

/// Lists the API tokens and sessions that are still valid.
pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let order = TokenFilter { user: args.user };
    let listed = args.source.give(socket::TOKEN_LIST, &order, async |connection| {
        access::list(connection, &order).await
    });
    let rows: Vec<TokenWithUser> = listed.await?;
    if args.json {
        output::print(serde_json::to_string_pretty(&json!(rows))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(format_args!(
        "{:>8}  {:7}  {:20}  {:20}  {:20}  {:>8}  USER, NAME",
        "ID", "KIND", "CREATED", "EXPIRES", "LAST USED", "USER ID"
    ))?;
    for row in &rows {
        output::print(format_args!(
            "{:>8}  {:7}  {:20}  {:20}  {:20}  {:>8}  {}{}",
            row.id,
            row.kind,
            time(Some(row.created_at), ""),
            time(row.expires_at, "never"),
            time(row.last_used_at, "never"),
            row.user_id,
            row.email,
            row.name.as_ref().map(|name| format!(", {name}")).unwrap_or_default(),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Revokes tokens and sessions. Every instance notices within 5 s. Exits 1 if an id was not found.
pub(super) async fn revoke(args: RevokeArgs) -> anyhow::Result<ExitCode> {
    let order = match args.user {
        Some(who) => Revocation::AllOf(who),
        None => Revocation::Ids(args.ids.clone()),
    };
    let ended = args.source.give(socket::TOKEN_REVOCATION, &order, async |connection| {
        access::revoke(connection, &order).await
    });
    let Revoked { count, ids: ended } = ended.await?;
    for id in &ended {
        output::print(format_args!("revoked  {id}"))?;
    }
    output::print(format_args!("{count} revoked"))?;
    let missed: Vec<&i64> = args.ids.iter().filter(|id| !ended.contains(id)).collect();
    for id in &missed {
        output::complain(format_args!("there is no token or session {id}"));
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn time(at: Option<DateTime<Utc>>, none: &str) -> String {
    at.map_or(none.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
