//! `taskd serve`: the HTTP API and the publisher.

mod args;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub use self::args::Args;
use super::configuration::{self, Examined, Invocation};
use super::parts;
use super::runtime::{self, Setup};
use crate::cache::Cache;
use crate::config::Auth;
use crate::domain::presence::Role;
use crate::http::Farewell;
use crate::store::Pools;

/// How long connections are still accepted after the stop signal. A proxy that still sends requests
/// to this process learns from each response that it is the last on its connection. The longest is
/// more than the time for which deploy/nginx.conf keeps an idle connection.
const FAREWELL: Farewell =
    Farewell { shortest: Duration::from_millis(250), longest: Duration::from_secs(2) };

/// Serves until told to stop.
///
/// # Errors
/// The configuration is wrong, the port is taken, or a dependency is not as it must be.
pub async fn run(args: Args, invocation: &Invocation) -> anyhow::Result<ExitCode> {
    let address = args.api.http.address();
    let policy = args.api.access.policy(Auth::Tokens, address.ip())?;
    let tls = args.tls.load()?;
    args.telemetry.start(&tls)?;
    let (database_url, redis_url) = (args.database.required_url(&tls)?, args.cache.url(&tls)?);
    let (threads, _) = args.api.requests.limits().threads();
    let pools = Pools::divided(&database_url, args.database.database_pool_size.into(), threads)?;
    let store = pools.shared().clone();
    let broker = parts::broker(&args.broker, &tls, "taskd serve", &store, args.no_declare)?;
    let listener = runtime::listen(address, "TASKD_HOST", "PORT")?;
    let webhooks = args.webhooks.webhooks(&tls, None)?;
    let drain_timeout = args.shutdown.drain_timeout;
    let examined = Examined {
        database: &args.database,
        broker: &args.broker,
        cache: &args.cache,
        tls: &args.tls,
        mail: None,
        retention: None,
    };
    let examination = configuration::examination(Role::Serve.as_str(), &examined, invocation);
    let (database_url, no_declare, monitor) = (&database_url, args.no_declare, None);
    let identity = (Role::Serve, &*parts::default_worker());
    let setup = Setup { identity, database_url, store, broker, no_declare, monitor, drain_timeout };
    runtime::run(setup, async |context, shutdown| {
        let redis = parts::shared_cache(redis_url.as_ref(), &args.cache).await?;
        let address = listener.local_addr()?;
        let cache = redis_url.map_or("off".to_owned(), |url| url.to_string());
        let broker = parts::broker_name(&args.broker, &tls)?;
        tracing::info!(%address, database = %database_url, broker, cache, "serving; documentation at /docs");
        let api = parts::Api {
            cache: redis.clone().map(|redis| redis as Arc<dyn Cache>),
            cache_ttl: args.cache.cache_ttl,
            limiter: redis.map(|redis| parts::shared_limiter(redis, &context.store)),
            args: args.api,
            pools: Some(pools),
            embedded: false,
            examination,
            farewell: Farewell {
                shortest: FAREWELL.shortest.min(drain_timeout / 4),
                longest: FAREWELL.longest.min(drain_timeout / 4),
            },
            policy,
            webhooks,
        };
        parts::serve(listener, context, api, shutdown).await
    })
    .await
}
