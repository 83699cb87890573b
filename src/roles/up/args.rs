//! The command line of `taskd up`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::super::configuration::Examined;
use super::super::parts;
use super::super::worker::WorkerSettings;
use super::demo::{self, DEMO_DATA_DIR};
use crate::cache::RedisUrl;
use crate::config::{
    ApiArgs, Auth, BrokerArgs, CacheArgs, DEFAULT_DATA_DIR, DEFAULT_MAIL_DIR, DataArgs,
    DatabaseArgs, EffectArgs, MailArgs, RetentionArgs, SimulationArgs, TelemetryArgs, TlsArgs,
    WebhookArgs, duration, whole,
};
use crate::domain::schedule::Schedule;
use crate::effects::Simulation;
use crate::ground::tls::Tls;
use crate::http::middleware::admission::Policy;
use crate::retention::Retention;

/// Options of `taskd up`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// How many deliveries the worker has in hand at most
    #[arg(long, env = "CONCURRENCY", value_name = "CONCURRENCY", default_value_t = 128,
          value_parser = whole(1..=2000_u16))]
    pub(super) concurrency: u16,
    /// When to purge, in UTC
    #[arg(long, env = "PURGE_CRON", value_name = "PURGE_CRON", default_value = "0 3 * * *")]
    pub(super) cron: Schedule,
    /// How long a stopping process may take to finish what is in flight
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DRAIN_TIMEOUT", default_value = "4s", value_parser = duration)]
    pub(super) drain_timeout: Duration,
    #[command(flatten)]
    pub(super) effects: EffectArgs,
    #[command(flatten)]
    pub(super) simulation: SimulationArgs,
    /// Tell a story: made-up people change tasks, and /demo has what breaks taskd on purpose. In a
    /// data directory of its own [.taskd-demo]; not in production
    #[arg(long, help_heading = "Demonstration")]
    pub(super) demo: bool,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) mail: MailArgs,
    #[command(flatten)]
    pub(super) webhooks: WebhookArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) retention: RetentionArgs,
    #[command(flatten)]
    pub(super) telemetry: TelemetryArgs,
}

impl Args {
    /// The data directory. A demo has one of its own if nothing is said.
    pub fn data_dir(&self) -> &Path {
        let data_dir = self.data.data_dir.as_path();
        if self.demo && data_dir == Path::new(DEFAULT_DATA_DIR) {
            return Path::new(DEMO_DATA_DIR);
        }
        data_dir
    }
}

/// What the command line and the environment say, once it makes sense.
pub(super) struct CheckedArgs {
    pub(super) simulation: Simulation,
    pub(super) keep: Retention,
    pub(super) tls: Tls,
    pub(super) redis_url: Option<RedisUrl>,
    pub(super) address: SocketAddr,
    pub(super) policy: Policy,
}

impl Args {
    /// How the worker works.
    pub(super) fn worker(&self, simulation: Simulation) -> WorkerSettings {
        WorkerSettings {
            name: parts::default_worker(),
            concurrency: self.concurrency,
            retries: self.broker.retry.retry_delays.clone(),
            simulation,
            limits: self.effects.limits(),
        }
    }

    /// What it can be examined by.
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

    /// Checks all that can be checked without a dependency, and puts mail into the data directory
    /// if nothing else is said.
    pub(super) fn check(&mut self) -> anyhow::Result<CheckedArgs> {
        let tls = self.tls.load()?;
        let mut keep = self.retention.checked(&self.broker.retry)?;
        if self.demo {
            keep = demo::prepare(self, &tls)?;
        }
        if self.mail.mail_dir.as_os_str() == DEFAULT_MAIL_DIR {
            self.mail.mail_dir = self.data_dir().join("mail");
        }
        let simulation = self.simulation.clone().checked()?;
        let redis_url = self.cache.url(&tls)?;
        self.broker.topology()?;
        self.webhooks.check()?;
        self.telemetry.start(&tls)?;
        let address = self.api.http.address();
        // On an address that others can reach, requests need a token.
        let usual = if address.ip().is_loopback() { Auth::None } else { Auth::Tokens };
        let policy = self.api.access.policy(usual, address.ip())?;
        Ok(CheckedArgs { simulation, keep, tls, redis_url, address, policy })
    }
}
