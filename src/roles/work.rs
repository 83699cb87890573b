//! `taskd work`: a worker.

use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{
    BrokerArgs, ConfigError, DatabaseArgs, MailArgs, MonitorArgs, ShutdownArgs, no_declare,
};
use crate::consumer::{Consumer, EXTERNAL_AT_ONCE, Tools};
use crate::effects::{Email, Simulation};
use crate::http::health::Monitored;
use crate::idempotency::Idempotency;
use crate::mail::{FileMailer, Mailer, SmtpMailer};
use crate::read_cache::ReadCache;
use crate::retry_router::RetryRouter;
use crate::secret::without_password;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Options of `taskd work`.
#[derive(clap::Args)]
pub struct Args {
    /// How many deliveries to have in hand at most: also the prefetch
    #[arg(long, env = "CONCURRENCY", value_name = "CONCURRENCY", default_value_t = 128,
          value_parser = clap::value_parser!(u16).range(1..=2000))]
    concurrency: u16,
    /// What to call this worker in logs and histories [default: host name and process id]
    #[arg(long, env = "WORKER_NAME", value_name = "WORKER_NAME")]
    name: Option<String>,
    /// Make effects fail at a rate, such as email=0.5, to see what happens; not in production
    #[arg(long, value_name = "EFFECT=RATE,…")]
    simulate_failure: Option<Simulation>,
    /// With "production", demonstrations are refused
    #[arg(long, env = "TASKD_ENV", value_name = "TASKD_ENV", default_value = "development")]
    environment: String,
    /// Do not declare the queues at the start
    #[arg(long, env = "NO_DECLARE", value_parser = no_declare, help_heading = "Broker")]
    no_declare: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    mail: MailArgs,
    #[command(flatten)]
    monitor: MonitorArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
}

/// Works until it is told to stop.
///
/// # Errors
/// The configuration is wrong, or a dependency is not as it must be.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (database_url, smtp_url) = (args.database.url()?, args.mail.url()?);
    let simulation = args.simulate_failure.unwrap_or_default();
    if !simulation.is_empty() && args.environment.eq_ignore_ascii_case("production") {
        return Err(
            ConfigError::new("TASKD_ENV", "is production: --simulate-failure is refused").into()
        );
    }
    let worker = args.name.unwrap_or_else(default_name);
    let broker = super::broker(&args.broker, &format!("taskd work {worker}"))?;
    let monitor =
        args.monitor.metrics_addr.map(|a| super::listen(a, "METRICS_ADDR")).transpose()?;
    let mailer: Arc<dyn Mailer> = match &smtp_url {
        Some(url) => Arc::new(SmtpMailer::new(url, args.mail.mail_from, EXTERNAL_AT_ONCE)?),
        None => Arc::new(FileMailer::new(args.mail.mail_dir.clone(), args.mail.mail_from)?),
    };
    let shutdown = super::shutdown(&args.shutdown)?;
    super::check_schema(&args.database).await?;
    if !args.no_declare {
        super::declare_at_start(broker.as_ref()).await?;
    }

    let metrics = Metrics::new()?;
    let store = Store::new(&database_url, args.database.database_pool_size.into())?;
    let tools = Tools {
        store: store.clone(),
        idempotency: Idempotency::new(store.clone(), &worker),
        router: RetryRouter::new(broker.clone(), args.broker.retry.retry_delays.clone(), &worker),
        email: Email::new(store.clone(), mailer),
        simulation,
        metrics: metrics.clone(),
        worker: worker.clone(),
    };
    if let Some(listener) = monitor {
        let address = listener.local_addr()?;
        let cache = ReadCache::new(None, store.clone(), metrics.clone(), std::time::Duration::ZERO);
        let monitored =
            Monitored { store, broker: broker.clone(), needs_broker: true, cache, metrics };
        tokio::spawn(crate::http::serve_monitor(listener, monitored)?);
        tracing::info!(%address, "health and metrics");
    }
    tracing::info!(
        worker,
        database = without_password(database_url.expose()),
        broker = ?args.broker.url()?,
        mail = smtp_url.map_or_else(|| args.mail.mail_dir.display().to_string(), |u| without_password(u.as_str())),
        "working"
    );

    Consumer::new(tools, broker.clone(), args.concurrency).run(shutdown).await;
    broker.close().await;
    tracing::info!(worker, "stopped");
    Ok(ExitCode::SUCCESS)
}

fn default_name() -> String {
    format!("{}-{}", gethostname::gethostname().to_string_lossy(), std::process::id())
}
