//! The connection to a Redis server.

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, ErrorKind, FromRedisValue};
use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use tokio::sync::Mutex;

use super::RedisUrl;
use crate::cache::CacheError;
use crate::ground::tls;

/// How long a command may take: far more than it does, also on a busy machine, and little enough
/// that the first requests of an outage are answered in time.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server, by one connection, on which requests are pipelined. It is made when first needed.
pub(super) struct Server {
    pool: Pool,
    link: Mutex<Option<Link>>,
}

#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Names one run of the server, and is part of every key: a server that was restarted comes up
    /// with old generations if it saved any, and must not be believed.
    pub(super) run: String,
}

impl Server {
    /// # Errors
    /// Never for a size above zero.
    pub(super) fn new(url: &RedisUrl) -> anyhow::Result<Server> {
        let pool = Pool::builder(Manager::new(url.information.clone())?)
            .max_size(2)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()?;
        Ok(Server { pool, link: Mutex::new(None) })
    }

    /// Why the server refuses us, if it is there and does.
    pub(super) async fn refusal(&self) -> Option<String> {
        let error = match self.pool.get().await.err()? {
            PoolError::Backend(error) => error,
            _ => return None,
        };
        // What it says of itself while it starts, or of its part in a cluster, passes.
        let passes =
            matches!(error.code(), Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN"));
        let said = error.code().is_some() || error.kind() == ErrorKind::AuthenticationFailed;
        (said && !passes).then(|| error.to_string())
    }

    /// The same server by a connection of its own, whose task runs where it is first used.
    pub(super) fn apart(&self) -> Server {
        Server { pool: self.pool.clone(), link: Mutex::new(None) }
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
    pub(super) async fn with_link<T>(
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
}

/// Waits for a command's answer for as long as one may take.
pub(super) async fn timed<T: FromRedisValue>(
    command: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, CacheError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, command).await {
        Ok(result) => result.map_err(|e| CacheError(e.to_string())),
        Err(_) => Err(CacheError(format!("no answer within {} ms", COMMAND_TIMEOUT.as_millis()))),
    }
}
