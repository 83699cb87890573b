//! The command line of `taskd webhooks`.

use chrono::{DateTime, Utc};

use super::order::WebhookSourceArgs;
use super::settings::{NewArgs, PatchArgs, event_type};
use crate::config::{self, DataArgs, whole};
use crate::domain::webhook::DeliveryState;

/// Options of `taskd webhooks`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// List webhooks, without their secrets
    List(ListArgs),
    /// Make a webhook, and print its secret, this once
    Create(Box<CreateArgs>),
    /// Show a webhook, without its secret
    Show(OneArgs),
    /// Change a webhook; what is not named stays as it is
    Update(Box<UpdateArgs>),
    /// Delete a webhook, with what was to be delivered to it
    Delete(DeleteArgs),
    /// Give a webhook a new secret, and print it, this once; the one before signs too for 24 hours
    RotateSecret(OneArgs),
    /// Send something to a webhook at once, enabled or not; exits with 1 if the answer is not 2xx
    Ping(OneArgs),
    /// List the deliveries to a webhook, newest first
    Deliveries(DeliveriesArgs),
    /// Show a delivery with each of its tries
    Delivery(DeliveryArgs),
    /// Send a delivery again, whatever became of it
    Resend(DeliveryArgs),
    /// Send again what was given up, of events since a time
    Recover(RecoverArgs),
    /// Deliver past events that a webhook was not told
    ReplayHistory(ReplayHistoryArgs),
    /// Seal the secrets of all webhooks under the first key of SECRET_KEY
    ///
    /// A running `taskd up` uses the keys it was started with. Exits with 1 if there is a secret
    /// that no key opens, and names its webhook.
    RotateKey(RotateKeyArgs),
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only those of this user
    #[arg(long, value_name = "ID", value_parser = whole(1..=i64::MAX))]
    pub(super) user: Option<i64>,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) source: WebhookSourceArgs,
}

#[derive(clap::Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    pub(super) new: NewArgs,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) source: WebhookSourceArgs,
}

#[derive(clap::Args)]
pub(super) struct OneArgs {
    /// Its id, as `taskd webhooks list` shows it
    #[arg(index = 1, value_parser = whole(1..=i64::MAX))]
    pub(super) id: i64,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) source: WebhookSourceArgs,
}

#[derive(clap::Args)]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    pub(super) patch: PatchArgs,
    #[command(flatten)]
    pub(super) one: OneArgs,
}

#[derive(clap::Args)]
pub(super) struct DeleteArgs {
    /// Don't ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) one: OneArgs,
}

#[derive(clap::Args)]
pub(super) struct DeliveriesArgs {
    /// Only those that are pending, waiting, done or failed
    #[arg(long, value_parser = state)]
    pub(super) state: Option<DeliveryState>,
    /// How many to list at most
    #[arg(long, default_value_t = 20, value_parser = whole(1..=10_000_u32))]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) one: OneArgs,
}

#[derive(clap::Args)]
pub(super) struct DeliveryArgs {
    /// The delivery, as `taskd webhooks deliveries ID` shows it
    #[arg(index = 2, value_name = "DELIVERY_ID", value_parser = whole(1..=i64::MAX))]
    pub(super) delivery: i64,
    #[command(flatten)]
    pub(super) one: OneArgs,
}

#[derive(clap::Args)]
pub(super) struct RecoverArgs {
    /// Of events since then: an RFC 3339 time, or how long ago, such as 2h
    #[arg(long, value_parser = config::since)]
    pub(super) since: DateTime<Utc>,
    #[command(flatten)]
    pub(super) one: OneArgs,
}

#[derive(clap::Args)]
pub(super) struct ReplayHistoryArgs {
    /// Only events of this type, such as TASK_CREATED; can be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = event_type)]
    pub(super) types: Vec<String>,
    #[command(flatten)]
    pub(super) recover: RecoverArgs,
}

#[derive(clap::Args)]
pub(super) struct RotateKeyArgs {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) source: WebhookSourceArgs,
}

fn state(name: &str) -> Result<DeliveryState, String> {
    DeliveryState::from_name(name).ok_or_else(|| {
        format!("must be one of {}", DeliveryState::ALL.map(DeliveryState::as_str).join(", "))
    })
}

impl Args {
    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        let source = match &self.action {
            Action::List(args) => &args.source,
            Action::Create(args) => &args.source,
            Action::Show(args) | Action::RotateSecret(args) | Action::Ping(args) => &args.source,
            Action::Update(args) => &args.one.source,
            Action::Delete(args) => &args.one.source,
            Action::Deliveries(args) => &args.one.source,
            Action::Delivery(args) | Action::Resend(args) => &args.one.source,
            Action::Recover(args) => &args.one.source,
            Action::ReplayHistory(args) => &args.recover.one.source,
            Action::RotateKey(args) => &args.source,
        };
        source.data()
    }
}
