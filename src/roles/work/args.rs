//! The command line of `taskd work`.

use crate::config::{
    BrokerArgs, DatabaseArgs, EffectArgs, MailArgs, MonitorArgs, ShutdownArgs, SimulationArgs,
    TelemetryArgs, TlsArgs, WebhookArgs, name, no_declare, whole,
};

/// Options of `taskd work`.
#[derive(clap::Args)]
pub struct Args {
    /// How many deliveries to have in hand at most: also the prefetch
    #[arg(long, env = "CONCURRENCY", value_name = "CONCURRENCY", default_value_t = 128,
          value_parser = whole(1..=2000_u16))]
    pub(super) concurrency: u16,
    /// What to call this worker in logs and histories [default: host name and process id]
    #[arg(long, env = "WORKER_NAME", value_name = "WORKER_NAME", value_parser = name)]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) effects: EffectArgs,
    #[command(flatten)]
    pub(super) simulation: SimulationArgs,
    /// Do not declare the queues at the start
    #[arg(long, env = "NO_DECLARE", value_parser = no_declare, help_heading = "Broker")]
    pub(super) no_declare: bool,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) mail: MailArgs,
    #[command(flatten)]
    pub(super) webhooks: WebhookArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) monitor: MonitorArgs,
    #[command(flatten)]
    pub(super) shutdown: ShutdownArgs,
    #[command(flatten)]
    pub(super) telemetry: TelemetryArgs,
}
