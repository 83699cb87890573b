//! `taskd work`: a worker.

mod args;

use std::process::ExitCode;

pub use self::args::Args;
use super::parts;
use super::runtime::{self, Setup};
use super::worker::{self, Outlets, WorkerSettings};
use crate::domain::presence;
use crate::operate::unfinished;
use crate::store::Store;

/// Runs a worker until it is told to stop.
///
/// # Errors
/// The configuration is wrong, or a dependency is not as it must be.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tls = args.tls.load()?;
    args.telemetry.start(&tls)?;
    let database_url = args.database.required_url(&tls)?;
    let simulation = args.simulation.checked()?;
    let worker = args.name.unwrap_or_else(parts::default_worker);
    let store = Store::new(&database_url, args.database.database_pool_size.into())?;
    let name = format!("taskd work {worker}");
    let broker = parts::broker(&args.broker, &tls, &name, &store, args.no_declare)?;
    let webhooks = args.webhooks.sender(&tls, None)?;
    let outlets = Outlets::new(&args.mail, &args.broker, &tls, &name, webhooks)?;
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
        let settings = WorkerSettings {
            name: worker.clone(),
            concurrency: args.concurrency,
            retries,
            simulation,
            limits: args.effects.limits(),
        };
        let worker = worker::worker(&context, outlets, settings)?;
        worker::work(&context, worker, &shutdown).await
    })
    .await
}
