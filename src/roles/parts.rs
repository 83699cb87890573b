//! Builds the parts that more than one role is made of.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::upkeep;
use crate::access::{Passwords, Tokens};
use crate::broker::Broker;
use crate::broker::amqp::AmqpBroker;
use crate::broker::tables::TableBroker;
use crate::cache::{Cache, DatabaseLimiter, Limiter, MemoryCache, RedisCache, RedisUrl};
use crate::config::{ApiArgs, BrokerArgs, CacheArgs, ConfigError, MailArgs};
use crate::consumer::EXTERNAL_AT_ONCE;
use crate::demo::Demo;
use crate::domain::catalog;
use crate::domain::presence::Role;
use crate::domain::rate::Limit;
use crate::feed::Feed;
use crate::ground::shutdown::Shutdown;
use crate::ground::telemetry::Metrics;
use crate::ground::tls::Tls;
use crate::http::middleware::admission::Policy;
use crate::http::middleware::rate_limits::RateLimits;
use crate::http::routes::health::{HealthSources, LastReport};
use crate::http::{self, ProcessState, SharedState};
use crate::mail::{FileMailer, Mailer, SmtpMailer};
use crate::operate;
use crate::operate::doctor::Examination;
use crate::operate::history::History;
use crate::operate::presence::Presence;
use crate::operate::pulse::Pulse;
use crate::publisher::Publisher;
use crate::read_cache::SharedCache;
use crate::store::installation::Installation;
use crate::store::{Pools, Store};
use crate::webhooks::orders::Webhooks;

/// What every role that serves or works needs.
#[derive(Clone)]
pub(super) struct RoleContext {
    pub(super) store: Store,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) metrics: Metrics,
    /// What is broken on purpose, by `taskd up --demo` alone.
    pub(super) demo: Option<Demo>,
}

impl RoleContext {
    pub(super) fn new(store: Store, broker: Arc<dyn Broker>) -> anyhow::Result<RoleContext> {
        Ok(RoleContext { store, broker, metrics: Metrics::new()?, demo: None })
    }

    /// Notes from now on that this process is there, and what it does.
    pub(super) fn noted(&self, role: Role, name: &str) -> Noted {
        Noted {
            presence: Presence::start(self.store.clone(), role, name, &self.metrics),
            history: History::start(self.store.clone(), &self.metrics),
        }
    }
}

/// What a process notes of itself while it runs.
pub(super) struct Noted {
    presence: Presence,
    history: History,
}

impl Noted {
    /// Notes the end, once the process has done all it does.
    pub(super) async fn end(self) {
        tokio::join!(self.presence.leave(), self.history.end());
    }
}

/// The broker: RabbitMQ, not connected yet, or the tables of the database. With `no_declare` it
/// never declares a queue.
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

/// The broker in the tables of the database.
pub(super) fn tables(args: &BrokerArgs, store: &Store) -> anyhow::Result<TableBroker> {
    let topology = args.topology()?;
    Ok(TableBroker::new(store.clone(), topology.main(), topology.dead()))
}

/// The broker's name in logs.
pub(super) fn broker_name(args: &BrokerArgs, tls: &Tls) -> anyhow::Result<String> {
    Ok(args.url(tls)?.map_or("tables of the database".to_owned(), |url| format!("{url:?}")))
}

/// The mailer (SMTP, not connected yet, or files), and how many mails each user gets.
pub(super) fn mailer(args: &MailArgs, tls: &Tls) -> anyhow::Result<(Arc<dyn Mailer>, Limit)> {
    let mailer: Arc<dyn Mailer> = match args.url(tls)? {
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
    };
    Ok((mailer, args.mail_limit))
}

/// What the API needs besides the [`RoleContext`].
pub(super) struct Api {
    pub(super) args: ApiArgs,
    pub(super) policy: Policy,
    /// The connections of the serving threads; without it they use those of the [`RoleContext`].
    pub(super) pools: Option<Pools>,
    pub(super) cache: Option<Arc<dyn Cache>>,
    pub(super) cache_ttl: Duration,
    pub(super) limiter: Option<Arc<dyn Limiter>>,
    /// Whether the database is embedded.
    pub(super) embedded: bool,
    /// How the process examines itself.
    pub(super) examination: Examination,
    /// How long connections are still accepted after the stop signal, for the sake of a proxy.
    pub(super) farewell: http::Farewell,
    /// What is asked of webhooks.
    pub(super) webhooks: Webhooks,
}

/// Runs the API and its publisher until they are told to stop and have finished.
pub(super) async fn serve(
    listener: TcpListener,
    context: RoleContext,
    api: Api,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let RoleContext { store, broker, metrics, demo } = context;
    let cache = SharedCache::new(api.cache, store.clone(), metrics.clone(), api.cache_ttl);
    // The publisher stops after the API, so that it also publishes what the last requests wrote.
    let publisher_shutdown = shutdown.later();
    let (publisher, handover) = Publisher::new(store.clone(), broker.clone(), metrics.clone());
    let publishing = tokio::spawn(publisher.run(publisher_shutdown.clone()));
    let indexing = upkeep::index_searches(store.clone(), metrics.clone(), shutdown.clone());
    let indexing = tokio::spawn(indexing);
    tokio::spawn(operate::unfinished::keep(store.clone(), shutdown.clone()));

    let common = SharedState {
        event_types: catalog::built_in(),
        publisher: handover,
        metrics,
        rates: RateLimits::new(api.args.limits.rates(api.policy), api.limiter),
        idempotency_retention: api.args.http.idempotency_retention,
        passwords: Passwords::default(),
        writes: http::writes(),
        session_lifetime: api.args.access.session_lifetime,
        token_lifetime: api.args.access.token_max_lifetime,
        policy: api.policy,
        embedded: api.embedded,
        examination: Arc::new(api.examination),
        pulse: Pulse::new(store.clone(), shutdown.clone()),
        feed: Feed::new(store.clone(), shutdown.clone()),
        console: api.args.requests.console(),
        webhooks: api.webhooks,
        demo,
    };
    let shared = ProcessState::new(api.pools.unwrap_or_else(|| store.into()), cache, common);
    let limits = api.args.requests.limits();
    http::serve(listener, shared, broker, limits, &shutdown, api.farewell).await?;
    publisher_shutdown.stop();
    let ending = async { tokio::try_join!(publishing, indexing) };
    tokio::select! {
        ended = ending => drop(ended?),
        () = shutdown.deadline() => tracing::warn!("DRAIN_TIMEOUT is over; unpublished events stay in the outbox"),
    }
    Ok(())
}

/// Serves health and metrics of a process without an API.
pub(super) fn monitor(
    listener: TcpListener,
    context: &RoleContext,
    metrics_public: bool,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let RoleContext { store, broker, metrics, .. } = context.clone();
    let monitored = HealthSources {
        metrics_for_operators: (!metrics_public).then(|| Tokens::new(store.clone())),
        cache: SharedCache::new(None, store.clone(), metrics.clone(), Duration::ZERO).on_thread(),
        needs_broker: true,
        last: LastReport::default(),
        queues: Arc::default(),
        pools: store.into(),
        broker,
        metrics,
    };
    tokio::spawn(http::serve_monitor(listener, monitored)?);
    tracing::info!(%address, "health and metrics");
    Ok(())
}

/// Connects to Redis. It may be down, but it must not refuse the connection.
pub(super) async fn redis(url: &RedisUrl, prefix: &str) -> anyhow::Result<Arc<RedisCache>> {
    let redis = RedisCache::new(url, prefix)?;
    match redis.refusal().await {
        Some(why) => anyhow::bail!("REDIS_URL: Redis refuses: {why}"),
        None => Ok(Arc::new(redis)),
    }
}

/// The cache that instances share, if there is one.
pub(super) async fn shared_cache(
    url: Option<&RedisUrl>,
    args: &CacheArgs,
) -> anyhow::Result<Option<Arc<RedisCache>>> {
    match url {
        Some(url) => Ok(Some(redis(url, &args.cache_prefix).await?)),
        None => Ok(None),
    }
}

/// The shared cache, or else one in the memory of this process.
pub(super) fn cache_or_memory(redis: Option<Arc<RedisCache>>) -> Arc<dyn Cache> {
    match redis {
        Some(redis) => redis,
        None => Arc::new(MemoryCache::default()),
    }
}

/// Rate limits that are counted in Redis, under keys of this database.
pub(super) fn shared_limiter(redis: Arc<RedisCache>, store: &Store) -> Arc<dyn Limiter> {
    Arc::new(DatabaseLimiter::new(redis, Installation::new(store.clone())))
}

/// The default name of a worker: this host and this process.
pub(super) fn default_worker() -> String {
    format!("{}-{}", gethostname::gethostname().to_string_lossy(), std::process::id())
}
