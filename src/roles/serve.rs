//! `taskd serve`: the HTTP API and the publisher.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::cache::{Cache, RedisCache};
use crate::config::{BrokerArgs, CacheArgs, DatabaseArgs, HttpArgs, ShutdownArgs, no_declare};
use crate::http::{self, State};
use crate::publisher::{Nudge, Publisher};
use crate::read_cache::ReadCache;
use crate::secret::without_password;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Options of `taskd serve`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
    /// Do not declare the queues at the start
    #[arg(long, env = "NO_DECLARE", value_parser = no_declare, help_heading = "Broker")]
    no_declare: bool,
}

/// Serves until it is told to stop.
///
/// # Errors
/// The configuration is wrong, the port is taken, or a dependency is not as it must be.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (database_url, redis_url) = (args.database.url()?, args.cache.url()?);
    let broker = super::broker(&args.broker, "taskd serve")?;
    let listener = super::listen(SocketAddr::new(args.http.host, args.http.port), "PORT")?;
    let address = listener.local_addr()?;
    let shutdown = super::shutdown(&args.shutdown)?;
    super::check_schema(&args.database).await?;
    if !args.no_declare {
        super::declare_at_start(broker.as_ref()).await?;
    }

    let metrics = Metrics::new()?;
    let store = Store::new(&database_url, args.database.database_pool_size.into())?;
    let cache: Option<Arc<dyn Cache>> = match &redis_url {
        Some(url) => Some(Arc::new(RedisCache::new(url, &args.cache.cache_prefix)?)),
        None => None,
    };
    let cache = ReadCache::new(cache, store.clone(), metrics.clone(), args.cache.cache_ttl);
    let nudge = Nudge::default();

    // The publisher stops after the API, so that it takes along what the last requests wrote.
    let publisher_shutdown = Shutdown::new(shutdown.drain_timeout());
    let publisher = Publisher::new(store.clone(), broker.clone(), metrics.clone(), nudge.clone());
    let publishing = tokio::spawn(publisher.run(publisher_shutdown.clone()));

    let hashing = std::thread::available_parallelism().map_or(1, usize::from);
    let state = State { store, cache, nudge, metrics, hashing: Arc::new(Semaphore::new(hashing)) };
    let server = http::serve(listener, state, broker.clone(), &shutdown)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    tracing::info!(
        %address,
        database = without_password(database_url.expose()),
        broker = ?args.broker.url()?,
        cache = redis_url.map_or("off".to_owned(), |url| without_password(url.expose())),
        "serving; documentation at /docs"
    );

    shutdown.requested().await;
    handle.stop(true).await;
    serving.await??;
    publisher_shutdown.stop();
    tokio::select! {
        ended = publishing => ended?,
        () = shutdown.deadline() => tracing::warn!("out of time; events wait in the outbox"),
    }
    broker.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
