//! What more than one role is made of.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::upkeep;
use crate::access::Tokens;
use crate::broker::Broker;
use crate::broker::amqp::AmqpBroker;
use crate::broker::tables::TableBroker;
use crate::cache::{Cache, Limiter};
use crate::config::{ApiArgs, BrokerArgs, ConfigError, MailArgs};
use crate::consumer::{Consumer, EXTERNAL_AT_ONCE, Tools};
use crate::domain::retry::RetryPolicy;
use crate::domain::schedule::Schedule;
use crate::effects::{Email, Simulation};
use crate::http::admission::Policy;
use crate::http::rate_limits::RateLimits;
use crate::http::{self, State};
use crate::idempotency::Idempotency;
use crate::mail::{FileMailer, Mailer, SmtpMailer};
use crate::publisher::Publisher;
use crate::read_cache::ReadCache;
use crate::retention::{Retention, purge};
use crate::retry_router::RetryRouter;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::task_reader::TaskReader;
use crate::task_writer::TaskWriter;
use crate::telemetry::Metrics;
use crate::tls::Tls;

/// What every process stands on.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) store: Store,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) metrics: Metrics,
}

/// RabbitMQ, not yet connected, or the tables of the database. With `no_declare` it never declares a queue.
pub(super) fn broker(
    args: &BrokerArgs,
    tls: &Tls,
    name: &str,
    store: &Store,
    no_declare: bool,
) -> anyhow::Result<Arc<dyn Broker>> {
    Ok(match args.url(tls)? {
        Some(url) => {
            let broker = AmqpBroker::new(url, args.topology()?, name);
            Arc::new(if no_declare { broker.without_declaring() } else { broker })
        }
        None => Arc::new(tables(args, store)?),
    })
}

/// The tables of the database.
pub(super) fn tables(args: &BrokerArgs, store: &Store) -> anyhow::Result<TableBroker> {
    let topology = args.topology()?;
    Ok(TableBroker::new(store.clone(), topology.main(), topology.dead()))
}

/// How the broker is called in logs.
pub(super) fn broker_name(args: &BrokerArgs, tls: &Tls) -> anyhow::Result<String> {
    Ok(args.url(tls)?.map_or("tables of the database".to_owned(), |url| format!("{url:?}")))
}

/// SMTP, not yet connected, or files.
pub(super) fn mailer(args: &MailArgs, tls: &Tls) -> anyhow::Result<Arc<dyn Mailer>> {
    Ok(match args.url(tls)? {
        Some(url) => Arc::new(SmtpMailer::new(
            &url,
            args.mail_from.clone(),
            EXTERNAL_AT_ONCE,
            args.manners(),
        )?),
        None => {
            let directory = args.mail_dir.clone();
            let unusable = |error| {
                let problem = format!("{} can't be written to: {error}", args.mail_dir.display());
                ConfigError::new("MAIL_DIR", problem)
            };
            Arc::new(FileMailer::new(directory, args.mail_from.clone()).map_err(unusable)?)
        }
    })
}

/// What the API is made of besides the ground.
pub(super) struct Api {
    pub(super) args: ApiArgs,
    pub(super) policy: Policy,
    pub(super) cache: Option<Arc<dyn Cache>>,
    pub(super) cache_ttl: Duration,
    pub(super) limiter: Option<Arc<dyn Limiter>>,
}

/// The API and the publisher, until they are told to stop and have.
pub(super) async fn serve(
    listener: TcpListener,
    ground: Ground,
    api: Api,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Ground { store, broker, metrics } = ground;
    let cache = ReadCache::new(api.cache, store.clone(), metrics.clone(), api.cache_ttl);
    // The publisher stops after the API, so that it takes along what the last requests wrote.
    let publisher_shutdown = Shutdown::new(shutdown.drain_timeout());
    let (publisher, handover) = Publisher::new(store.clone(), broker.clone(), metrics.clone());
    let publishing = tokio::spawn(publisher.run(publisher_shutdown.clone()));
    let indexing = upkeep::index_searches(store.clone(), metrics.clone(), shutdown.clone());
    let indexing = tokio::spawn(indexing);

    let state = State {
        new_tasks: TaskWriter::new(store.clone(), handover.clone()),
        task_pages: TaskReader::new(store.clone()),
        tokens: Tokens::new(store.clone()),
        passwords: Arc::default(),
        session_lifetime: api.args.access.session_lifetime,
        policy: api.policy,
        idempotency_retention: api.args.http.idempotency_retention,
        store,
        cache,
        publisher: handover,
        metrics,
        rates: Arc::new(RateLimits::new(api.args.limits.rates(), api.limiter)),
    };
    let server = http::serve(listener, state, broker, api.args.requests.limits(), &shutdown)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);

    shutdown.requested().await;
    handle.stop(true).await;
    serving.await??;
    publisher_shutdown.stop();
    let ending = async { tokio::try_join!(publishing, indexing) };
    tokio::select! {
        ended = ending => drop(ended?),
        () = shutdown.deadline() => tracing::warn!("out of time; events wait in the outbox"),
    }
    Ok(())
}

/// A worker of this name.
pub(super) fn consumer(
    ground: &Ground,
    mailer: Arc<dyn Mailer>,
    retries: RetryPolicy,
    simulation: Simulation,
    worker: &str,
    concurrency: u16,
) -> Consumer {
    let Ground { store, broker, metrics } = ground.clone();
    let tools = Tools {
        idempotency: Idempotency::new(store.clone(), worker),
        router: RetryRouter::new(broker.clone(), retries, worker),
        email: Email::new(store.clone(), mailer),
        simulation,
        metrics,
        worker: worker.to_owned(),
        store,
    };
    Consumer::new(tools, broker, concurrency)
}

/// Consumes until told to stop, in a task of its own: the thread that started the process would have to be woken by
/// those that serve the connections, for each delivery.
pub(super) async fn work(consumer: Consumer, shutdown: &Shutdown) -> anyhow::Result<()> {
    let ended = tokio::spawn(consumer.run(shutdown.clone())).await;
    // One that has panicked takes the process along.
    shutdown.stop();
    Ok(ended?)
}

/// What a worker is called if nobody says: this host and this process.
pub(super) fn default_worker() -> String {
    format!("{}-{}", gethostname::gethostname().to_string_lossy(), std::process::id())
}

/// Purges whenever the schedule says so, until told to stop.
pub(super) async fn purge_by_schedule(
    schedule: &Schedule,
    store: &Store,
    keep: Retention,
    metrics: &Metrics,
    shutdown: &Shutdown,
) {
    while let Some(next) = schedule.next_after(Utc::now()) {
        tracing::info!(%schedule, next = %next.to_rfc3339(), "purging next");
        let pause = (next - Utc::now()).to_std().unwrap_or_default();
        if !shutdown.sleep(pause).await {
            return;
        }
        match purge(store, keep, Utc::now(), metrics, shutdown).await {
            Ok(Some(purged)) => tracing::info!(
                processed_messages = purged.processed_messages,
                events = purged.events,
                task_activity = purged.task_activity,
                idempotency_keys = purged.idempotency_keys,
                tokens = purged.tokens,
                "purged"
            ),
            Ok(None) => tracing::info!("another process is purging"),
            Err(error) => tracing::error!(%error, "purging failed; the next time will do it all"),
        }
    }
    tracing::warn!(%schedule, "this schedule never comes due again");
}
