//! The connection pool.

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Object, Pool};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, RecyclingMethod,
};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Socket};

use crate::store::{PostgresUrl, StoreError};
use crate::tls;

/// How long a caller waits for a free connection, and for a new one to open. An HTTP request that
/// can't get one by then is answered 503, so this is below what clients usually wait.
const WAIT: Duration = Duration::from_secs(3);
/// How long all of that may take together: connections that turn out to be dead are passed over.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an idle connection may take for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// For how long after it was last taken a connection counts as alive.
const FRESH: Duration = Duration::from_secs(1);
/// A peer that acknowledges nothing for this long is gone, reset or not.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// No statement of ours takes this long; one that does is stuck, and is cancelled by the server. Below
/// the time after which the server itself counts as gone (`sql::ANSWER_TIMEOUT`).
const STATEMENT_TIMEOUT: &str = "12s";
/// How the server notices that we are gone, without a word, and lets go of our locks: a transaction in
/// which nothing happens, a peer that acknowledges nothing
/// (<https://www.postgresql.org/docs/current/runtime-config-client.html>).
const IF_WE_ARE_GONE: &str = "SET idle_in_transaction_session_timeout = '15s'; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// The smallest share of the pool that is given to a thread of its own: a few slow queries must not keep
/// all others of the thread waiting.
const LEAST_SHARE: usize = 4;

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Pool<AsyncPgConnection>,
    /// Those of threads.
    shares: Arc<[Pool<AsyncPgConnection>]>,
}

/// How much of the pool is in use.
#[derive(Debug, Clone, Copy)]
pub struct PoolStatus {
    /// Connections open.
    pub size: usize,
    /// Of those, idle.
    pub available: usize,
    /// Callers waiting.
    pub waiting: usize,
}

impl Store {
    /// A pool that connects when first needed. Its connections are served in the runtime that this is called
    /// in: those that a thread with a runtime of its own opens must not end with it.
    ///
    /// # Errors
    /// Never for a size above zero.
    pub fn new(url: &PostgresUrl, size: usize) -> anyhow::Result<Store> {
        let here = Handle::try_current().ok();
        Ok(Store { pool: pool(url, size, here)?, shares: Arc::new([]) })
    }

    /// The same for a process that serves with so many threads, each of which has a runtime of its own: three
    /// quarters are divided among them. A connection is served where it was opened, so a query there waits
    /// for no other thread. A pool that is too small for that is shared by all.
    ///
    /// # Errors
    /// Never for a size above zero.
    pub fn divided(url: &PostgresUrl, size: usize, threads: usize) -> anyhow::Result<Store> {
        let share = size * 3 / 4 / threads.max(1);
        if share < LEAST_SHARE {
            return Store::new(url, size);
        }
        let shares: anyhow::Result<Vec<_>> = (0..threads).map(|_| pool(url, share, None)).collect();
        let rest = Store::new(url, size - threads * share)?;
        Ok(Store { shares: shares?.into(), ..rest })
    }

    /// The database by the connections of one thread, counted from zero; `None` if it has none of its own.
    pub fn share(&self, thread: usize) -> Option<Store> {
        let pool = self.shares.get(thread)?.clone();
        Some(Store { pool, shares: Arc::clone(&self.shares) })
    }

    /// A connection. Hold no other while asking: an embedded database has only one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn connection(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        let got = tokio::time::timeout(PATIENCE, self.pool.get()).await;
        got.map_or_else(
            |_| {
                // One silent connection after the other: the rest has gone with them.
                self.pool.retain(|_, metrics| metrics.last_used() < FRESH);
                let silence = format!("no connection within {} s", PATIENCE.as_secs());
                Err(StoreError::Unavailable(silence))
            },
            |got| got.map_err(|error| StoreError::Unavailable(error.to_string())),
        )
    }

    /// Closes a connection instead of giving it back.
    pub fn discard(connection: Object<AsyncPgConnection>) {
        drop(Object::take(connection));
    }

    /// Closes every connection; those in use when they are given back. Nothing can be asked after. To be asked of the
    /// whole.
    pub fn close(&self) {
        self.pools().for_each(Pool::close);
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after two seconds at most.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let asked = async {
            let mut connection = self.connection().await?;
            connection.batch_execute("SELECT 1").await.map_err(StoreError::from)
        };
        tokio::time::timeout(Duration::from_secs(2), asked)
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer within 2 s".into())))
    }

    /// How much of the pool is in use, with the shares of threads. To be asked of the whole.
    pub fn status(&self) -> PoolStatus {
        let mut sum = PoolStatus { size: 0, available: 0, waiting: 0 };
        for status in self.pools().map(Pool::status) {
            sum.size += status.size;
            sum.available += status.available;
            sum.waiting += status.waiting;
        }
        sum
    }

    fn pools(&self) -> impl Iterator<Item = &Pool<AsyncPgConnection>> {
        [&self.pool].into_iter().chain(self.shares.iter())
    }
}

/// A pool whose connections are served in this runtime, or where each is opened.
fn pool(
    url: &PostgresUrl,
    size: usize,
    home: Option<Handle>,
) -> anyhow::Result<Pool<AsyncPgConnection>> {
    let mut config = ManagerConfig::default();
    let owned = url.clone();
    config.custom_setup = Box::new(move |_| {
        let (url, home) = (owned.clone(), home.clone());
        let connecting = async move { connect(&url, STATEMENT_TIMEOUT).await };
        async move {
            let Some(home) = home else { return connecting.await };
            let ended = |error| Err(ConnectionError::BadConnection(format!("{error}")));
            home.spawn(connecting).await.unwrap_or_else(ended)
        }
        .boxed()
    });
    // Closed connections are noticed all the same; silent ones by the hook.
    config.recycling_method = RecyclingMethod::Fast;
    let manager = AsyncDieselConnectionManager::new_with_config(url.to_string(), config);
    let pool = Pool::builder(manager)
        .pre_recycle(Hook::async_fn(|connection, metrics| {
            Box::pin(sign_of_life(connection, metrics.last_used()))
        }))
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .recycle_timeout(Some(WAIT))
        .build()?;
    Ok(pool)
}

/// Asks a connection for a sign of life before it is used again, unless it was just now: that would be
/// a round trip for each use while there is most to do. One that was given up on for its silence
/// (`sql::ANSWER_TIMEOUT`) was taken out long ago, so it is asked. One whose user hung up in mid-statement
/// may be handed on with that statement still running: the next waits for its end, and each gets its own
/// answer, since the client matches them in order.
async fn sign_of_life(
    connection: &mut AsyncPgConnection,
    since_last_use: Duration,
) -> Result<(), HookError> {
    if since_last_use < FRESH {
        return Ok(());
    }
    let asked = tokio::time::timeout(SIGN_OF_LIFE, connection.batch_execute("SELECT 1"));
    match asked.await {
        Ok(answer) => answer.map_err(|error| HookError::Backend(PoolError::QueryError(error))),
        Err(_) => Err(HookError::message("no sign of life")),
    }
}

/// Opens one connection; `statement_timeout` is PostgreSQL's setting, `0` for none.
pub(super) async fn connect(
    url: &PostgresUrl,
    statement_timeout: &str,
) -> ConnectionResult<AsyncPgConnection> {
    let mut config = url.config.clone();
    if config.get_application_name().is_none() {
        config.application_name("taskd");
    }
    config.connect_timeout(WAIT).tcp_user_timeout(UNACKNOWLEDGED).keepalives_idle(UNACKNOWLEDGED);
    let mut connection = match &url.tls {
        Some(tls) => open(&config, tls.clone()).await?,
        None => open(&config, NoTls).await?,
    };
    connection
        .batch_execute(&format!(
            "SET TIME ZONE 'UTC'; SET statement_timeout = '{statement_timeout}'; {IF_WE_ARE_GONE}"
        ))
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

async fn open<T>(config: &Config, tls: T) -> ConnectionResult<AsyncPgConnection>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) =
        config.connect(tls).await.map_err(|e| ConnectionError::BadConnection(describe(&e)))?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// The error with its cause, which the client's own text leaves out.
fn describe(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => tls::with_advice(format_args!("{error}: {cause}")),
        None => error.to_string(),
    }
}
