//! `taskd work`: a worker.

use std::process::ExitCode;

use super::parts::{self, Ground};
use super::runtime;
use crate::config::{
    BrokerArgs, DatabaseArgs, MailArgs, MonitorArgs, ShutdownArgs, SimulationArgs, TlsArgs, name,
    no_declare, whole,
};
use crate::ground::telemetry::Metrics;
use crate::store::Store;

/// Options of `taskd work`.
#[derive(clap::Args)]
pub struct Args {
    /// How many deliveries to have in hand at most: also the prefetch
    #[arg(long, env = "CONCURRENCY", value_name = "CONCURRENCY", default_value_t = 128,
          value_parser = whole(1..=2000_u16))]
    concurrency: u16,
    /// What to call this worker in logs and histories [default: host name and process id]
    #[arg(long, env = "WORKER_NAME", value_name = "WORKER_NAME", value_parser = name)]
    name: Option<String>,
    #[command(flatten)]
    simulation: SimulationArgs,
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
    tls: TlsArgs,
    #[command(flatten)]
    monitor: MonitorArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
}

/// Runs a worker until it is told to stop.
///
/// # Errors
/// The configuration is wrong, or a dependency is not as it must be.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tls = args.tls.load()?;
    let database_url = args.database.required_url(&tls)?;
    let simulation = args.simulation.checked()?;
    let worker = args.name.unwrap_or_else(parts::default_worker);
    let store = Store::new(&database_url, args.database.database_pool_size.into())?;
    let broker = parts::broker(
        &args.broker,
        &tls,
        &format!("taskd work {worker}"),
        &store,
        args.no_declare,
    )?;
    let listen = |address| runtime::listen(address, "METRICS_ADDR", "METRICS_ADDR");
    let monitor = args.monitor.metrics_addr.map(listen).transpose()?;
    let mailer = parts::mailer(&args.mail, &tls)?;
    let shutdown = runtime::begin(
        args.shutdown.drain_timeout,
        &database_url,
        broker.as_ref(),
        args.no_declare,
    )
    .await?;

    let ground = Ground { store, broker: broker.clone(), metrics: Metrics::new()? };
    if let Some(listener) = monitor {
        parts::monitor(listener, &ground, args.monitor.metrics_public)?;
    }
    tracing::info!(
        worker,
        database = %database_url,
        broker = parts::broker_name(&args.broker, &tls)?,
        mail = args.mail.describe(&tls)?,
        "working"
    );
    let retries = args.broker.retry.retry_delays.clone();
    let consumer = parts::consumer(&ground, mailer, retries, simulation, &worker, args.concurrency);
    parts::work(consumer, &shutdown).await?;
    Ok(runtime::end(&shutdown, broker.as_ref()).await)
}
