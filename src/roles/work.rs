//! `taskd work`: a worker.

use std::process::ExitCode;

use super::parts;
use super::runtime::{self, Setup};
use crate::config::{
    BrokerArgs, DatabaseArgs, MailArgs, MonitorArgs, ShutdownArgs, SimulationArgs, TlsArgs, name,
    no_declare, whole,
};
use crate::domain::presence;
use crate::operate::unfinished;
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
    let name = format!("taskd work {worker}");
    let broker = parts::broker(&args.broker, &tls, &name, &store, args.no_declare)?;
    let mailer = parts::mailer(&args.mail, &tls)?;
    let setup = Setup {
        identity: (presence::Role::Work, &worker),
        database_url: &database_url,
        store,
        broker,
        no_declare: args.no_declare,
        monitor: Some(&args.monitor),
        drain_timeout: args.shutdown.drain_timeout,
    };
    runtime::run(setup, async |context, shutdown| {
        let (broker, mail) = (parts::broker_name(&args.broker, &tls)?, args.mail.describe(&tls)?);
        tracing::info!(worker, database = %database_url, broker, mail, "working");
        tokio::spawn(unfinished::keep(context.store.clone(), shutdown.clone()));
        let retries = args.broker.retry.retry_delays.clone();
        let (worker, deliveries) = (&worker, args.concurrency);
        let consumer = parts::consumer(&context, mailer, retries, simulation, worker, deliveries);
        parts::work(&context, consumer, &shutdown).await
    })
    .await
}
