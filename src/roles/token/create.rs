//! `taskd token create`: makes an API token, in a database or by a running `taskd up`.

use std::process::ExitCode;

use reqwest::Method;

use super::super::reach::{self, StoppedUp};
use super::super::runtime;
use crate::access::{Grant, GrantError, grant};
use crate::config::{ConfigError, DataArgs, DatabaseArgs, TlsArgs, duration};
use crate::ground::output;
use crate::ground::secret::Secret;
use crate::http::routes::operator::socket::{self, NewTokenDocument, Refusal};
use crate::store::Store;

#[derive(clap::Args)]
pub(super) struct CreateArgs {
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
    #[command(flatten)]
    pub(super) data: DataArgs,
}

/// Makes a token and prints it.
pub(super) async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let url = args.database.url(&args.tls.load()?)?;
    let order = Grant {
        user: args.user,
        admin: args.admin,
        name: args.name,
        lifetime: args.expires_in.map(|time| time.as_secs().max(1)),
    };
    let (user_id, is_new_user) = match url {
        Some(url) => {
            runtime::check_database(&url).await?;
            by_database(&Store::new(&url, 1)?, &order).await?
        }
        None => by_up(&args.data, &order).await?,
    };
    if is_new_user {
        output::complain(format_args!("made user {user_id} for {}", order.user));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the token in a database. Returns the user's id, and whether the user was created with it.
async fn by_database(store: &Store, order: &Grant) -> anyhow::Result<(i64, bool)> {
    let mut connection = store.connection().await?;
    let show = |token: &Secret| output::print_once(token.expose());
    let granted = grant(&mut connection, order, show).await.map_err(refused)?;
    Ok((granted.user_id, granted.is_new_user))
}

/// Has the token made by the `taskd up` that runs on the data directory, or in its database.
async fn by_up(data: &DataArgs, order: &Grant) -> anyhow::Result<(i64, bool)> {
    let Some(answer) = reach::ask(data, Method::POST, socket::TOKENS, order).await? else {
        return match StoppedUp::open(data).await? {
            Some(stopped) => by_database(&stopped.store, order).await,
            None => {
                let problem = format!(
                    "is not set, and no `taskd up` has run on {}: set it to \
                     postgres://user:password@host/database, or start `taskd up`",
                    data.data_dir.display()
                );
                Err(ConfigError::new("DATABASE_URL", problem).into())
            }
        };
    };
    if !answer.status().is_success() {
        let Refusal { field, problem } = answer.json().await?;
        return match field {
            Some(field) => Err(ConfigError::new(format!("--{field}"), problem).into()),
            None => anyhow::bail!("the `taskd up` on {}: {problem}", data.data_dir.display()),
        };
    }
    let NewTokenDocument { token, token_id, user_id, is_new_user } = answer.json().await?;
    if let Err(error) = output::print_once(&token) {
        let path = format!("{}/{user_id}/{token_id}", socket::TOKENS);
        let taken_back = reach::ask(data, Method::DELETE, &path, &()).await;
        anyhow::ensure!(
            matches!(&taken_back, Ok(Some(answer)) if answer.status().is_success()),
            "{error}, and token {token_id} of user {user_id}, which nobody has seen, could not be taken back"
        );
        anyhow::bail!("{error}; the token was taken back");
    }
    Ok((user_id, is_new_user))
}

/// An invalid order is a mistake on the command line, so the error names the option.
fn refused(error: GrantError) -> anyhow::Error {
    match error {
        GrantError::Invalid { field, problem } => {
            ConfigError::new(format!("--{field}"), problem).into()
        }
        other => other.into(),
    }
}
