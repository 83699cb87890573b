//! `taskd token`: the first token, which nobody could ask the API for, and a look at all there are.

use std::process::ExitCode;

use anyhow::Context;
use chrono::{SubsecRound, Utc};

use super::token_list;
use crate::access::issue;
use crate::config::{ConfigError, DatabaseArgs, TlsArgs, duration};
use crate::domain::user::Role;
use crate::mail::is_address;
use crate::store::tokens::{Kind, NewToken};
use crate::store::users::{self, UserChange};
use crate::store::{Connection, Store};

/// Options of `taskd token`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make an API token and print it, this once
    Create(CreateArgs),
    /// List API tokens and sessions, without the tokens themselves
    List(token_list::ListArgs),
    /// End API tokens and sessions
    Revoke(token_list::RevokeArgs),
}

#[derive(clap::Args)]
struct CreateArgs {
    /// Whose it is: a user's id, or an e-mail address; a user with a new address is made
    #[arg(long, value_name = "ID|EMAIL")]
    user: String,
    /// Make this user an admin
    #[arg(long)]
    admin: bool,
    /// What the token is for
    #[arg(long, default_value = "command line")]
    name: String,
    /// For how long it is good, such as 90d; for ever if nothing is said
    #[arg(long, value_parser = duration)]
    expires_in: Option<std::time::Duration>,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Makes a token, lists them or ends them.
///
/// # Errors
/// The configuration is wrong, there is no such user, or the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = match args.command {
        Command::Create(args) => args,
        Command::List(args) => return token_list::list(args).await,
        Command::Revoke(args) => return token_list::revoke(args).await,
    };
    let url = args.database.required_url(&args.tls.load()?)?;
    if !(1..=100).contains(&args.name.chars().count()) || args.name.trim().is_empty() {
        return Err(ConfigError::new("--name", "must have 1 to 100 characters").into());
    }
    let created_at = Utc::now().trunc_subsecs(6);
    let expires_at = match args.expires_in {
        None => None,
        Some(time) => Some(
            chrono::Duration::from_std(time)
                .ok()
                .and_then(|time| created_at.checked_add_signed(time))
                .ok_or_else(|| ConfigError::new("--expires-in", "is beyond the end of time"))?,
        ),
    };
    super::check_database(&url).await?;
    let store = Store::new(&url, 1)?;
    let mut connection = store.connection().await?;
    let user_id = user(&mut connection, &args.user, args.admin).await?;
    let new = NewToken { user_id, kind: Kind::Api, name: Some(args.name), created_at, expires_at };
    let (_, token) = issue(&mut connection, new).await.context("the token can't be kept")?;
    super::print(token.expose());
    Ok(ExitCode::SUCCESS)
}

/// The user meant, made an admin if that is asked for.
async fn user(connection: &mut Connection, who: &str, admin: bool) -> anyhow::Result<i64> {
    let now = Utc::now().trunc_subsecs(6);
    let role = admin.then_some(Role::Admin.as_str());
    let id = match who.parse() {
        Ok(id) => Some(id),
        Err(_) if is_address(who) => users::id_of(connection, who).await?,
        Err(_) => {
            let problem = "must be a user's id or an e-mail address";
            return Err(ConfigError::new("--user", problem).into());
        }
    };
    let Some(id) = id else {
        let change = UserChange { email: Some(who.to_owned()), role, ..UserChange::default() };
        let made = users::insert(connection, change, now).await?;
        super::complain(format_args!("made user {} for {who}", made.id));
        return Ok(made.id);
    };
    let change = UserChange { role, ..UserChange::default() };
    let found = match role {
        Some(_) => users::update(connection, id, change, now).await?,
        None => users::find(connection, id).await?,
    };
    found.map(|user| user.id).with_context(|| format!("--user: there is no user {id}"))
}
