//! Redis.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    self, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, RedisWrite, Script,
    TlsCertificates, ToRedisArgs,
};
use deadpool_redis::{Manager, Pool, Runtime};
use tokio::sync::Mutex;
use url::Url;

use super::{Cache, CacheError, Entry, Limiter, Scope, Slot, new_generation};
use crate::domain::rate::{Rate, Taken};
use crate::secret::without_password;
use crate::tls::{self, Tls};

/// How long a command may take: far more than it does, also on a busy machine, and little enough
/// that the first requests of an outage are answered in time.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a generation is kept, in seconds. Without one a reader begins a new one, so this only bounds
/// memory.
const GENERATION_TTL_SECONDS: u64 = 24 * 3600;

/// `Rate::take` on the server, by its clock: instances need not agree on the time. One round trip.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local ahead = (tonumber(redis.call('GET', KEYS[1]) or 0)) - now
ahead = math.max(0, math.min(ahead, capacity))
if ahead + interval > capacity then return {0, ahead} end
ahead = ahead + interval
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
return {1, ahead}
";
/// Where a Redis server is.
#[derive(Clone)]
pub struct RedisUrl {
    shown: String,
    information: ConnectionInfo,
}

impl RedisUrl {
    /// Reads `redis://user:password@host:port/number`. With `rediss` the server has to have a
    /// certificate that is trusted and names the host.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str, tls: &Tls) -> Result<RedisUrl, String> {
        let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        let client = match url.scheme() {
            "redis" => Client::open(text),
            "rediss" => {
                // The client makes its own configuration, of this provider and these certificates.
                tls::provider();
                let authorities = tls.authorities_as_pem();
                let trusted = TlsCertificates { client_tls: None, root_cert: Some(authorities) };
                Client::build_with_tls(text, trusted)
            }
            other => return Err(format!("the scheme must be redis or rediss, not {other:?}")),
        };
        let information = client.map_err(|e| e.to_string())?.get_connection_info().clone();
        if matches!(information.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err("#insecure is not supported: certificates are always checked".into());
        }
        Ok(RedisUrl { shown: without_password(text), information })
    }
}

/// Without the password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A Redis server, by one connection, on which requests are pipelined.
///
/// A generation has a key, and so has an entry, which begins with the digits of the generation it was filled
/// under: both are read in one round trip, and an entry of another generation counts for nothing.
pub struct RedisCache {
    pool: Pool,
    prefix: String,
    take: Script,
    link: Mutex<Option<Link>>,
}

#[derive(Clone)]
struct Link {
    connection: MultiplexedConnection,
    /// Names one run of the server, and is part of every key: a server that was restarted comes up
    /// with old generations if it saved any, and must not be believed.
    run: String,
}

impl RedisCache {
    /// A cache that connects when first needed; every key begins with `prefix`.
    ///
    /// # Errors
    /// Never for a size above zero.
    pub fn new(url: &RedisUrl, prefix: &str) -> anyhow::Result<RedisCache> {
        let pool = Pool::builder(Manager::new(url.information.clone())?)
            .max_size(2)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()?;
        Ok(RedisCache {
            pool,
            prefix: prefix.to_owned(),
            take: Script::new(TAKE),
            link: Mutex::new(None),
        })
    }

    /// The connection in use, or a new one.
    async fn link(&self) -> Result<Link, CacheError> {
        let mut current = self.link.lock().await;
        if let Some(link) = current.as_ref() {
            return Ok(link.clone());
        }
        let pooled = self.pool.get().await.map_err(|e| CacheError(tls::with_advice(e)))?;
        // Taken out for good: from here on it is shared, not checked out.
        let mut connection = deadpool_redis::Connection::take(pooled);
        let information: String =
            timed(redis::cmd("INFO").arg("server").query_async(&mut connection)).await?;
        let run = information
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"))
            .ok_or_else(|| CacheError("INFO names no run_id".into()))?;
        // Enough of its 40 digits to tell runs apart.
        let run = run.trim().chars().take(12).collect();
        let link = Link { connection, run };
        *current = Some(link.clone());
        Ok(link)
    }

    /// Runs one command; after a failure the next caller connects anew.
    async fn with_link<T>(
        &self,
        command: impl AsyncFnOnce(Link) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        let link = self.link().await?;
        let result = command(link).await;
        if result.is_err() {
            *self.link.lock().await = None;
        }
        result
    }

    fn generation_key(&self, run: &str, epoch: i64, scope: Scope) -> String {
        format!("{}:{run}:{epoch}:generation:{scope}", self.prefix)
    }
}

/// An entry as it is kept, written where it is sent from.
struct Filled<'a> {
    generation: &'a str,
    value: &'a [u8],
}

impl ToRedisArgs for Filled<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        // The writer is a buffer in memory.
        let _ = argument
            .write_all(self.generation.as_bytes())
            .and_then(|()| argument.write_all(self.value));
    }
}

/// Begins the first generation, unless somebody else just has. Returns the one that counts.
async fn begin_generation(link: &mut Link, key: &str) -> Result<String, CacheError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(key).arg(new_generation()).arg("NX");
    pipeline.arg("EX").arg(GENERATION_TTL_SECONDS).ignore().get(key);
    let (generation,) = timed(pipeline.query_async(&mut link.connection)).await?;
    Ok(generation)
}

async fn timed<T: FromRedisValue>(
    command: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, CacheError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, command).await {
        Ok(result) => result.map_err(|e| CacheError(e.to_string())),
        Err(_) => Err(CacheError(format!("no answer within {} ms", COMMAND_TIMEOUT.as_millis()))),
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn look(&self, epoch: i64, scope: Scope, key: &str) -> Result<Entry, CacheError> {
        self.with_link(async |mut link| {
            let generation_key = self.generation_key(&link.run, epoch, scope);
            let key = format!("{}:{}:{epoch}:entry:{scope}:{key}", self.prefix, link.run);
            let mut both = redis::cmd("MGET");
            both.arg(&generation_key).arg(&key);
            let (generation, value): (Option<String>, Option<Bytes>) =
                timed(both.query_async(&mut link.connection)).await?;
            let generation = match generation {
                Some(generation) => generation,
                None => begin_generation(&mut link, &generation_key).await?,
            };
            let body = value.filter(|value| value.starts_with(generation.as_bytes()));
            Ok(match body {
                Some(value) => Entry::Hit(value.slice(generation.len()..)),
                None => Entry::Miss(Slot { key, generation }),
            })
        })
        .await
    }

    async fn fill(&self, slot: &Slot, value: &[u8], ttl: Duration) -> Result<(), CacheError> {
        self.with_link(async |mut link| {
            let length = slot.key.len() + slot.generation.len() + value.len();
            let mut set = Cmd::with_capacity(5, length + 32);
            set.arg("SET").arg(&slot.key).arg(Filled { generation: &slot.generation, value });
            set.arg("PX").arg(ttl.as_millis() as u64);
            timed(set.query_async(&mut link.connection)).await
        })
        .await
    }

    async fn invalidate(&self, epoch: i64, scopes: &[Scope]) -> Result<(), CacheError> {
        self.with_link(async |mut link| {
            let mut pipeline = redis::pipe();
            for scope in scopes {
                pipeline
                    .cmd("SET")
                    .arg(self.generation_key(&link.run, epoch, *scope))
                    .arg(new_generation())
                    .arg("EX")
                    .arg(GENERATION_TTL_SECONDS)
                    .ignore();
            }
            timed(pipeline.query_async(&mut link.connection)).await
        })
        .await
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.with_link(async |mut link| {
            timed(redis::cmd("PING").query_async(&mut link.connection)).await
        })
        .await
    }

    /// By a connection of its own, whose task runs where it is first used.
    fn apart(&self) -> Arc<dyn Cache> {
        Arc::new(RedisCache {
            pool: self.pool.clone(),
            prefix: self.prefix.clone(),
            take: self.take.clone(),
            link: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Limiter for RedisCache {
    async fn take(&self, key: &str, rate: Rate) -> Result<Taken, CacheError> {
        self.with_link(async |mut link| {
            let mut take = self.take.prepare_invoke();
            take.key(format!("{}:rate:{key}", self.prefix))
                .arg(rate.interval())
                .arg(rate.capacity());
            let (granted, ahead): (bool, u64) =
                timed(take.invoke_async(&mut link.connection)).await?;
            Ok(rate.taken(granted, ahead))
        })
        .await
    }
}
