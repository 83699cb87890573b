//! `taskd token create`: makes an API token, in a database or by a running `taskd up`.

use std::process::ExitCode;

use reqwest::Method;

use super::super::reach;
use super::super::source::SourceArgs;
use crate::access::{Grant, grant};
use crate::config::{DataArgs, duration};
use crate::domain::user::Role;
use crate::ground::output;
use crate::ground::secret::Secret;
use crate::http::routes::operator::socket::{self, NewTokenDocument};

#[derive(clap::Args)]
pub(super) struct CreateArgs {
    /// Whose it is: a user's id, or an e-mail address; a user with a new address is made
    #[arg(long, value_name = "ID|EMAIL")]
    user: String,
    /// Make this user an admin
    #[arg(long)]
    admin: bool,
    /// Make this user a viewer, who looks at everything and changes nothing
    #[arg(long, conflicts_with = "admin")]
    viewer: bool,
    /// What the token is for
    #[arg(long, default_value = "command line")]
    name: String,
    /// For how long it is good, such as 90d; for ever if nothing is said
    #[arg(long, value_parser = duration)]
    expires_in: Option<std::time::Duration>,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

/// Makes a token and prints it.
pub(super) async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let order = Grant {
        user: args.user,
        role: match (args.admin, args.viewer) {
            (true, _) => Some(Role::Admin),
            (false, true) => Some(Role::Viewer),
            (false, false) => None,
        },
        name: args.name,
        lifetime: args.expires_in.map(|time| time.as_secs().max(1)),
    };
    // In a database the token is printed before it is committed.
    let mut printed = false;
    let made = args.source.give(socket::TOKENS, &order, async |connection| {
        let show = |token: &Secret| output::print_once(token.expose());
        let granted = grant(connection, &order, show).await?;
        printed = true;
        Ok(NewTokenDocument::from(granted))
    });
    let made = made.await?;
    if !printed {
        print_or_take_back(&args.source.data, &made).await?;
    }
    if made.is_new_user {
        output::complain(format_args!("made user {} for {}", made.user_id, order.user));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a token that `taskd up` has made. If it can't be printed, it is deleted.
async fn print_or_take_back(data: &DataArgs, made: &NewTokenDocument) -> anyhow::Result<()> {
    let NewTokenDocument { token, token_id, user_id, .. } = made;
    let Err(error) = output::print_once(token) else { return Ok(()) };
    let path = format!("{}/{user_id}/{token_id}", socket::TOKENS);
    let taken_back = reach::ask(data, Method::DELETE, &path, &()).await;
    anyhow::ensure!(
        matches!(&taken_back, Ok(Some(answer)) if answer.status().is_success()),
        "{error}, and token {token_id} of user {user_id}, which nobody has seen, could not be taken back"
    );
    anyhow::bail!("{error}; the token was taken back");
}
