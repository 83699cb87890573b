//! The command line of `taskd serve`.

use crate::config::{
    ApiArgs, BrokerArgs, CacheArgs, DatabaseArgs, ShutdownArgs, TelemetryArgs, TlsArgs,
    WebhookArgs, no_declare,
};

/// Options of `taskd serve`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) webhooks: WebhookArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) shutdown: ShutdownArgs,
    #[command(flatten)]
    pub(super) telemetry: TelemetryArgs,
    /// Do not declare the queues at the start
    #[arg(long, env = "NO_DECLARE", value_parser = no_declare, help_heading = "Broker")]
    pub(super) no_declare: bool,
}
