//! `taskd token list` and `taskd token revoke`: listing and revoking tokens and sessions.

use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::config::{ConfigError, DatabaseArgs, TlsArgs};
use crate::ground::output;
use crate::mail::is_address;
use crate::store::accounts::tokens::{self, Kind, TokenWithUser};
use crate::store::accounts::{credentials, users};
use crate::store::{Connection, Store};

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
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
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
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

/// How many rows are read at a time.
const PAGE: i64 = 1_000;

/// Lists the API tokens and sessions that are still valid.
pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let store = open(&args.database, &args.tls).await?;
    let mut connection = store.connection().await?;
    let user = match &args.user {
        Some(who) => Some(find(&mut connection, who).await?),
        None => None,
    };
    let mut rows: Vec<TokenWithUser> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| row.id);
        let page = tokens::list_all(&mut connection, user, after, PAGE).await?;
        let more = page.len() as i64 == PAGE;
        rows.extend(page);
        if !more {
            break;
        }
    }
    if args.json {
        let rows: Vec<_> = rows.iter().map(document).collect();
        output::print(serde_json::to_string_pretty(&rows)?)?;
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
    let store = open(&args.database, &args.tls).await?;
    let mut connection = store.connection().await?;
    if let Some(who) = &args.user {
        let user = find(&mut connection, who).await?;
        let mut ended = 0;
        for kind in [Kind::Api, Kind::Session] {
            let of_kind = credentials::end_all(&mut connection, user, kind).await?;
            ended += of_kind.with_context(|| format!("--user: there is no user {user}"))?;
        }
        output::print(format_args!("{ended} revoked"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = credentials::revoke(&mut connection, args.ids.clone()).await?;
    for id in &ended {
        output::print(format_args!("revoked  {id}"))?;
    }
    output::print(format_args!("{} revoked", ended.len()))?;
    let missed: Vec<&i64> = args.ids.iter().filter(|id| !ended.contains(id)).collect();
    for id in &missed {
        output::complain(format_args!("there is no token or session {id}"));
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn open(database: &DatabaseArgs, tls: &TlsArgs) -> anyhow::Result<Store> {
    let url = database.required_url(&tls.load()?)?;
    super::super::runtime::check_database(&url).await?;
    Store::new(&url, 1)
}

async fn find(connection: &mut Connection, who: &str) -> anyhow::Result<i64> {
    let id = match who.parse() {
        Ok(id) => users::find(connection, id).await?.map(|user| user.id),
        Err(_) if is_address(who) => users::id_of(connection, who).await?,
        Err(_) => {
            let problem = format!("{who:?} is neither a user's id nor an e-mail address");
            return Err(ConfigError::new("--user", problem).into());
        }
    };
    id.with_context(|| format!("--user: there is no user {who}"))
}

fn document(row: &TokenWithUser) -> serde_json::Value {
    json!({
        "id": row.id, "kind": row.kind, "userId": row.user_id, "email": row.email, "name": row.name,
        "createdAt": row.created_at, "expiresAt": row.expires_at, "lastUsedAt": row.last_used_at,
    })
}

fn time(at: Option<DateTime<Utc>>, none: &str) -> String {
    at.map_or(none.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
