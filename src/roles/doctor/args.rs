//! The command line of `taskd doctor`.

use std::time::Duration;

use super::super::configuration::Examined;
use crate::config::{
    BrokerArgs, CacheArgs, DataArgs, DatabaseArgs, MailArgs, RetentionArgs, TlsArgs, duration,
};

/// Options of `taskd doctor`. It takes those of all that it examines, and exits 1 if something
/// doesn't work; warnings alone are 0.
#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    /// List the variables too that have their defaults
    #[arg(long)]
    pub(super) variables: bool,
    /// Send an event through everything, and say how long each step took; it leaves nothing behind
    #[arg(long)]
    pub(super) canary: bool,
    /// How long that event may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) canary_timeout: Duration,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) mail: MailArgs,
    #[command(flatten)]
    pub(super) retention: RetentionArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
}

impl Args {
    /// What is examined.
    pub(super) fn examined(&self) -> Examined<'_> {
        Examined {
            database: &self.database,
            broker: &self.broker,
            cache: &self.cache,
            tls: &self.tls,
            mail: Some((&self.mail, &self.data)),
            retention: Some(&self.retention),
        }
    }

    /// The data directory of the `taskd up` that may be asked.
    pub fn data(&self) -> &DataArgs {
        &self.data
    }
}
