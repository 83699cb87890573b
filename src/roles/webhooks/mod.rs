//! `taskd webhooks`: endpoints that are told of events, and what is delivered to each.

mod args;
mod deliveries;
mod endpoints;
mod order;
mod print;
mod settings;

use std::process::ExitCode;

use self::args::Action;
pub use self::args::Args;

/// Lists, makes, changes and deletes webhooks, and looks at deliveries or orders them once more.
/// Exits 1 if a ping has not succeeded, or if a secret could not be sealed anew.
///
/// # Errors
/// The configuration or an option is wrong, there is no such webhook, output can't be written, or
/// the database fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => endpoints::list(args).await,
        Action::Create(args) => endpoints::create(args).await,
        Action::Show(args) => endpoints::show(args).await,
        Action::Update(args) => endpoints::update(args).await,
        Action::Delete(args) => endpoints::delete(args).await,
        Action::RotateSecret(args) => endpoints::rotate_secret(args).await,
        Action::Ping(args) => deliveries::ping(args).await,
        Action::Deliveries(args) => deliveries::list(args).await,
        Action::Delivery(args) => deliveries::show(args).await,
        Action::Resend(args) => deliveries::resend(args).await,
        Action::Recover(args) => deliveries::recover(args).await,
        Action::ReplayHistory(args) => deliveries::replay_history(args).await,
        Action::RotateKey(args) => endpoints::rotate_key(args).await,
    }
}
