//! The connection to a Redis server.

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, ErrorKind, FromRedisValue};
use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use tokio::sync::Mutex;

use super::RedisUrl;
use crate::cache::CacheError;
use crate::ground::tls;

/// The limit on one command: far more than a command takes, even on a busy machine, and short
/// enough that the first requests of an outage are still answered in time.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
/// The limit on connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server, with one connection on which commands are pipelined. It connects when first used.
pub(super) struct Server {
    pool: Pool,
    link: Mutex<Option<Link>>,
}

#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Identifies one run of the server, and is part of every key: a restarted server may come up
    /// with old generations that it had saved, and these must not be believed.
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

    /// Why the server refuses the connection; `None` if it accepts it or can't be reached.
    pub(super) async fn refusal(&self) -> Option<String> {
        let error = match self.pool.get().await.err()? {
            PoolError::Backend(error) => error,
            _ => return None,
        };
        // Temporary: the server is loading, busy with a script, or has lost its master or its
        // cluster.
        let passes =
            matches!(error.code(), Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN"));
        let said = error.code().is_some() || error.kind() == ErrorKind::AuthenticationFailed;
        (said && !passes).then(|| said_by_redis(&error))
    }

    /// The same server with a connection of its own, whose task runs on the thread that first uses
    /// it.
    pub(super) fn apart(&self) -> Server {
        Server { pool: self.pool.clone(), link: Mutex::new(None) }
    }

    /// The present connection, or a new one.
    async fn link(&self) -> Result<Link, CacheError> {
        let mut current = self.link.lock().await;
        if let Some(link) = current.as_ref() {
            return Ok(link.clone());
        }
        let pooled = self.pool.get().await.map_err(|e| CacheError(tls::with_advice(e)))?;
        // Taken out of the pool for good: all callers share it, so it isn't returned.
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

    /// Runs one command. A failure drops the connection, and the next caller makes a new one.
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

/// The server's own text of an error, without the library's names for its kind.
fn said_by_redis(error: &redis::RedisError) -> String {
    let Some(text) = error.detail() else {
        // The library keeps nothing of the server's text here.
        return match error.kind() {
            ErrorKind::AuthenticationFailed => "the user name or the password is wrong".to_owned(),
            _ => error.code().unwrap_or_else(|| error.category()).to_owned(),
        };
    };
    // ERR says nothing; others, such as NOAUTH, are what one looks for.
    match error.code().filter(|code| *code != "ERR") {
        Some(code) => format!("{code} {text}"),
        None => text.to_owned(),
    }
}

/// Waits for a command's reply, at most [`COMMAND_TIMEOUT`].
pub(super) async fn timed<T: FromRedisValue>(
    command: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, CacheError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, command).await {
        Ok(result) => result.map_err(|e| CacheError(e.to_string())),
        Err(_) => Err(CacheError(format!("no answer within {} ms", COMMAND_TIMEOUT.as_millis()))),
    }
}
