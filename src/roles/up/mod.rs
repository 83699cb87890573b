//! `taskd up`: everything in one process. Each dependency is set by a variable of its own, and has
//! an embedded default without it.

mod database;
mod panel;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::database::Database;
use self::panel::panel;
use super::parts::{self, Ground};
use super::upkeep;
use crate::access::{Grant, grant};
use crate::cache::{Cache, Limiter, MemoryCache};
use crate::config::{
    ApiArgs, Auth, BrokerArgs, CacheArgs, ConfigError, DEFAULT_MAIL_DIR, DataArgs, DatabaseArgs,
    MailArgs, RetentionArgs, SimulationArgs, TlsArgs, duration, whole,
};
use crate::domain::schedule::Schedule;
use crate::ground::data_dir::{DataDir, DataDirError};
use crate::ground::output;
use crate::ground::secret::Secret;
use crate::ground::telemetry::Metrics;
use crate::ground::tls::Tls;
use crate::http::middleware::admission::Policy;
use crate::http::middleware::observe::AccessLog;
use crate::http::routes::operator::socket as operator_socket;
use crate::store::Store;
use crate::store::accounts::users;
use crate::store::delivery::{outbox, processed};
use crate::store::migrations::{Migrator, made_schema};

impl Args {
    /// The data directory.
    pub fn data(&self) -> &DataArgs {
        &self.data
    }
}

/// Options of `taskd up`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    data: DataArgs,
    /// How many deliveries the worker has in hand at most
    #[arg(long, env = "CONCURRENCY", value_name = "CONCURRENCY", default_value_t = 128,
          value_parser = whole(1..=2000_u16))]
    concurrency: u16,
    /// When to purge, in UTC
    #[arg(long, env = "PURGE_CRON", value_name = "PURGE_CRON", default_value = "0 3 * * *")]
    cron: Schedule,
    /// How long a stopping process may take to finish what is in flight
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DRAIN_TIMEOUT", default_value = "4s", value_parser = duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    simulation: SimulationArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    mail: MailArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    retention: RetentionArgs,
}

/// Runs everything until told to stop.
///
/// # Errors
/// The configuration is wrong, the port or the data directory is taken, or a dependency is not as
/// it must be.
pub async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let simulation = args.simulation.clone().checked()?;
    let keep = args.retention.checked(&args.broker.retry)?;
    let tls = args.tls.load()?;
    let redis_url = args.cache.url(&tls)?;
    args.broker.topology()?;
    let address = args.api.http.address();
    // On an address that others can reach, requests need a token.
    let usual = if address.ip().is_loopback() { Auth::None } else { Auth::Tokens };
    let policy = args.api.access.policy(usual, address.ip())?;
    if args.mail.mail_dir.as_os_str() == DEFAULT_MAIL_DIR {
        args.mail.mail_dir = args.data.data_dir.join("mail");
    }
    let listener = super::runtime::listen(address, "TASKD_HOST", "PORT")?;
    let address = listener.local_addr()?;
    let shutdown = super::runtime::stop_signal(args.drain_timeout)?;

    let directory = take(&args, &tls)?;
    let database = Database::open(&args, &tls, directory).await?;
    // The embedded database serves one connection at a time, and there is no pooler in between.
    if !database.is_embedded() {
        super::runtime::check_sessions(database.url()).await?;
    }
    let applied = Migrator::connect(database.url()).await?.up()?;
    let pool_size = if database.is_embedded() { 1 } else { args.database.database_pool_size };
    let store = Store::new(database.url(), pool_size.into())?;
    if made_schema(&applied) {
        // The example that the panel shows creates a task for user 1.
        users::add_example(&mut *store.connection().await?).await?;
    }
    if database.is_embedded() {
        take_over(&args, &tls, &store).await?;
    }
    let broker = parts::broker(&args.broker, &tls, "taskd up", &store, false)?;
    super::runtime::meet(broker.as_ref(), false).await?;
    let (cache, limiter): (Arc<dyn Cache>, Option<Arc<dyn Limiter>>) = match &redis_url {
        Some(url) => {
            let redis = parts::redis(url, &args.cache.cache_prefix).await?;
            (redis.clone(), Some(parts::shared_limiter(redis, &store)))
        }
        None => (Arc::new(MemoryCache::default()), None),
    };
    let mailer = parts::mailer(&args.mail, &tls)?;
    let ground = Ground { store: store.clone(), broker: broker.clone(), metrics: Metrics::new()? };

    // Here the user who runs this process can give it orders, with `taskd dlq` and `taskd token`.
    let operated = database.directory().map(|directory| {
        let socket = directory.operator_socket();
        operator_socket::start(&socket, store.clone(), broker.clone())
    });
    let operated = operated.transpose()?;
    let panel = |token: Option<&Secret>| {
        let shown = panel(&args, &tls, address, policy, &database, redis_url.as_ref(), token);
        shown.map_err(|error| error.to_string())
    };
    greet(&store, policy, panel).await?;
    tracing::info!(%address, "up");

    let worker = parts::default_worker();
    let retries = args.broker.retry.retry_delays.clone();
    let consumer = parts::consumer(&ground, mailer, retries, simulation, &worker, args.concurrency);
    let metrics = ground.metrics.clone();
    let api = parts::Api {
        cache: Some(cache),
        cache_ttl: args.cache.cache_ttl,
        limiter,
        args: args.api.clone(),
        access_log: AccessLog::All,
        farewell: Duration::ZERO,
        policy,
    };
    let serving = parts::serve(listener, ground, api, shutdown.clone());
    let upkeep = async {
        let vacuuming = async {
            if database.is_embedded() {
                upkeep::vacuum(&store, &metrics, &shutdown).await;
            }
        };
        let purging = parts::purge_by_schedule(&args.cron, &store, keep, &metrics, &shutdown);
        // A statement of theirs may be a long one.
        tokio::select! {
            _ = async { tokio::join!(vacuuming, purging) } => {}
            () = shutdown.deadline() => {}
        }
    };
    let (served, worked, ()) = tokio::join!(serving, parts::work(consumer, &shutdown), upkeep);
    let parting = async {
        if let Some(operated) = operated {
            operated.stop().await;
        }
        broker.close().await;
    };
    shutdown.last_step(parting).await;
    // The embedded database stops when its last client disconnects.
    store.close();
    served?;
    worked?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Releases the leases and claims of a process that was killed, instead of waiting for them to
/// expire. An embedded database is used by one process alone, so they can't belong to anybody else.
async fn take_over(args: &Args, tls: &Tls, store: &Store) -> anyhow::Result<()> {
    let mut connection = store.connection().await?;
    outbox::release_all(&mut connection).await?;
    processed::release_all(&mut connection).await?;
    drop(connection);
    if args.broker.url(tls)?.is_none() {
        parts::tables(&args.broker, store)?.release_taken().await?;
    }
    Ok(())
}

/// Takes the data directory. A process with a database given by URL also starts without it, if
/// another process has it.
fn take(args: &Args, tls: &Tls) -> anyhow::Result<Option<DataDir>> {
    let given = args.database.url(tls)?.is_some();
    match DataDir::take(&args.data.data_dir) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if given => {
            tracing::warn!(%error, "commands on this machine reach this process by its DATABASE_URL alone");
            Ok(None)
        }
        Err(error @ DataDirError::InUse { .. }) => Err(error.into()),
        Err(error) => Err(ConfigError::new("DATA_DIR", error.to_string()).into()),
    }
}

/// Prints the panel. If requests need a token and there is no admin yet, it makes the first admin's
/// token and shows it, this once.
async fn greet(
    store: &Store,
    policy: Policy,
    panel: impl Fn(Option<&Secret>) -> Result<String, String>,
) -> anyhow::Result<()> {
    if !policy.anybody {
        let mut connection = store.connection().await?;
        if !users::has_admin(&mut connection).await? {
            let first = Grant {
                user: "admin@localhost".into(),
                admin: true,
                name: "first start of taskd up".into(),
                lifetime: None,
            };
            let show = |token: &Secret| match panel(Some(token)) {
                Ok(panel) => output::print_once(panel),
                Err(_) => output::print_once(token.expose()),
            };
            grant(&mut connection, &first, show).await?;
            return Ok(());
        }
    }
    let panel = panel(None).map_err(anyhow::Error::msg)?;
    Ok(output::print(panel)?)
}
