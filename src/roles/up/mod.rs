//! `taskd up`: everything in one process. Each dependency is set by a variable of its own, and has
//! an embedded default without it.

mod args;
mod database;
mod demo;
mod greeting;
mod panel;

use std::process::ExitCode;

pub use self::args::Args;
use self::args::CheckedArgs;
use self::database::Database;
use super::configuration::{self, Invocation};
use super::worker::Outlets;
use super::{parts, runtime, upkeep};
use crate::domain::presence::Role;

/// Runs everything until told to stop.
///
/// # Errors
/// The configuration is wrong, something is taken, or a dependency is not as it must be.
pub async fn run(mut args: Args, invocation: &Invocation) -> anyhow::Result<ExitCode> {
    let CheckedArgs { simulation, keep, tls, redis_url, address, policy } = args.check()?;
    let examination = configuration::examination(Role::Up.as_str(), &args.examined(), invocation);
    let listener = runtime::listen(address, "TASKD_HOST", "PORT")?;
    let address = listener.local_addr()?;
    let shutdown = runtime::stop_signal(args.drain_timeout)?;
    let (database, store) = Database::open(&args, &tls).await?;
    let broker = parts::broker(&args.broker, &tls, "taskd up", &store, false)?;
    runtime::meet(broker.as_ref(), false).await?;
    let redis = parts::shared_cache(redis_url.as_ref(), &args.cache).await?;
    let (webhooks, sender) = args.webhooks.both(&tls, database.directory())?;
    let outlets = Outlets::new(&args.mail, &args.broker, &tls, "taskd up", sender)?;
    let context = demo::context(&args, &store, &broker).await?;
    let workers = demo::Workers::new(&context, outlets, args.worker(simulation))?;
    let noted = context.noted(workers.role(), &parts::default_worker());
    let operated = database.take_orders(&store, &webhooks)?;
    let parting = async {
        if let Some(operated) = operated {
            operated.stop().await;
        }
        tokio::join!(noted.end(), broker.close());
    };
    let panel = |token: Option<&_>| {
        panel::panel(&args, &tls, address, policy, &database, redis_url.as_ref(), token)
    };
    if let Err(error) = greeting::greet(&store, policy, panel).await {
        // Whoever still has the database would keep the process from ending.
        shutdown.last_step(parting).await;
        store.close();
        return Err(error);
    }
    tracing::info!(%address, "up");
    let api = parts::Api {
        cache: Some(parts::cache_or_memory(redis.clone())),
        cache_ttl: args.cache.cache_ttl,
        limiter: redis.map(|redis| parts::shared_limiter(redis, &store)),
        args: args.api.clone(),
        pools: None,
        embedded: database.is_embedded(),
        examination,
        farewell: Default::default(),
        policy,
        webhooks,
    };
    let upkeep = upkeep::Upkeep { schedule: &args.cron, keep, vacuums: database.is_embedded() };
    let (served, worked, ()) = tokio::join!(
        parts::serve(listener, context.clone(), api, shutdown.clone()),
        workers.run(&context, address, &shutdown),
        upkeep.run(&context, &shutdown),
    );
    shutdown.last_step(parting).await;
    // The embedded database stops when its last client disconnects.
    store.close();
    served.and(worked)?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
