//! The connection pool.

use std::time::{Duration, Instant};

use deadpool::Runtime;
use diesel::ConnectionError;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Object, Pool};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::store::connection::connect::connect;
use crate::store::connection::sqlstate::ReadOnlySince;
use crate::store::sql::{RunQueryDsl, Statement};
use crate::store::{PostgresUrl, StoreError};

/// How long a caller waits for a free connection, and for a new one to open. An HTTP request that
/// can't get one in this time is answered 503, so this is below the timeouts of usual clients.
const WAIT: Duration = Duration::from_secs(3);
/// How long opening a connection may take, over all hosts of the URL.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2_900);
/// How long all of that may take together, dead connections that are passed over included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an idle connection may take to answer a check.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long after it was last taken a connection counts as alive without a check.
const FRESH: Duration = Duration::from_secs(1);
/// No statement of ours takes this long; one that does is stuck, and the server cancels it. Less
/// than the time after which the server itself counts as gone (`sql::ANSWER_TIMEOUT`).
const STATEMENT_TIMEOUT: &str = "12s";

/// The database, behind a pool of connections.
#[derive(Clone)]
pub struct Store {
    pool: Pool<AsyncPgConnection>,
    terms: ConnectionPolicy,
}

/// How connections may be used; one for all pools of a process.
#[derive(Clone)]
struct ConnectionPolicy {
    read_only: ReadOnlySince,
    must_take_writes: bool,
}

/// The error text for a read-only server where writes are needed.
pub const READ_ONLY: &str = "it can only be read";

/// What a reachable database can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// It takes writes.
    Full,
    /// It is read-only, as a standby is.
    ReadOnly,
}

/// How much of the pool is in use.
#[derive(Debug, Clone, Copy)]
pub struct PoolStatus {
    /// Open connections.
    pub size: usize,
    /// Connections that may be open.
    pub limit: usize,
    /// Idle connections among them.
    pub available: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
}

impl Store {
    /// A pool that connects when first needed. Its connections are served by the runtime in which
    /// this is called: a connection opened in a thread with a runtime of its own must not end with
    /// that thread.
    ///
    /// # Errors
    /// Never for a size above zero.
    pub fn new(url: &PostgresUrl, size: usize) -> anyhow::Result<Store> {
        let here = Handle::try_current().ok();
        let terms = ConnectionPolicy::of(url);
        Ok(Store { pool: pool(url, size, here, &terms)?, terms })
    }

    /// Another pool to the same database, whose connections are served where each is opened. The
    /// two tell each other when the server can only be read.
    pub(super) fn beside(&self, url: &PostgresUrl, size: usize) -> anyhow::Result<Store> {
        Ok(Store { pool: pool(url, size, None, &self.terms)?, terms: self.terms.clone() })
    }

    /// Takes a connection. Hold no other meanwhile: an embedded database has only one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn connection(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        let got = tokio::time::timeout(PATIENCE, self.pool.get()).await;
        got.map_or_else(
            |_| {
                // One connection after another was silent: the server is gone, and the rest with
                // it.
                self.pool.retain(|_, metrics| metrics.last_used() < FRESH);
                let silence = format!("no connection within {} s", PATIENCE.as_secs());
                Err(StoreError::Unavailable(silence))
            },
            |got| got.map_err(|error| StoreError::Unavailable(error.to_string())),
        )
    }

    /// Closes a connection instead of returning it to the pool.
    pub fn discard(connection: Object<AsyncPgConnection>) {
        drop(Object::take(connection));
    }

    /// Closes all connections; those in use are closed when they are returned. No connection can be
    /// taken afterwards.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Asks whether the database takes writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also if the server is read-only but has to take writes.
    pub async fn ping(&self) -> Result<Service, StoreError> {
        let asked = Instant::now();
        let mut connection = self.connection().await.map_err(|error| {
            match self.terms.read_only.refused_since(asked) {
                true => StoreError::Unavailable(READ_ONLY.to_owned()),
                false => error,
            }
        })?;
        self.terms.ask(&mut connection).await
    }

    /// How much of the pool is in use.
    pub(super) fn status(&self) -> PoolStatus {
        let status = self.pool.status();
        PoolStatus {
            size: status.size,
            limit: status.max_size,
            available: status.available,
            waiting: status.waiting,
        }
    }
}

/// A pool whose connections are served in the runtime `home`, or else where each is opened.
fn pool(
    url: &PostgresUrl,
    size: usize,
    home: Option<Handle>,
    terms: &ConnectionPolicy,
) -> anyhow::Result<Pool<AsyncPgConnection>> {
    let mut config = ManagerConfig::default();
    let (owned, read_only) = (url.clone(), terms.read_only.clone());
    config.custom_setup = Box::new(move |_| {
        let (url, home, read_only) = (owned.clone(), home.clone(), read_only.clone());
        let connecting = async move {
            let opened = connect(&url, CONNECT_TIMEOUT, STATEMENT_TIMEOUT, &read_only).await;
            opened.map_err(|error| ConnectionError::BadConnection(error.to_string()))
        };
        async move {
            let Some(home) = home else { return connecting.await };
            let ended = |error| Err(ConnectionError::BadConnection(format!("{error}")));
            home.spawn(connecting).await.unwrap_or_else(ended)
        }
        .boxed()
    });
    // This notices closed connections; the hook notices silent ones.
    config.recycling_method = RecyclingMethod::Fast;
    let terms = terms.clone();
    let manager = AsyncDieselConnectionManager::new_with_config(url.to_string(), config);
    let pool = Pool::builder(manager)
        .pre_recycle(Hook::async_fn(move |connection, metrics| {
            let (terms, created) = (terms.clone(), metrics.created);
            let idle = metrics.last_used();
            Box::pin(async move { terms.hold_of(connection, created, idle).await })
        }))
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .recycle_timeout(Some(WAIT))
        .build()?;
    Ok(pool)
}

impl ConnectionPolicy {
    fn of(url: &PostgresUrl) -> ConnectionPolicy {
        ConnectionPolicy {
            read_only: ReadOnlySince::default(),
            must_take_writes: url.must_take_writes,
        }
    }

    /// Whether a connection may be used again. It is checked with a query, unless it was used just
    /// now: a check for each use would cost a round trip just when the load is highest. A
    /// connection that was given up for its silence (`sql::ANSWER_TIMEOUT`) was taken long ago, so
    /// it is checked. A connection whose user hung up mid-statement may be handed on while that
    /// statement still runs: the next user waits for its end, and gets the right answer, since the
    /// client matches answers in order.
    async fn hold_of(
        &self,
        connection: &mut AsyncPgConnection,
        created: Instant,
        idle: Duration,
    ) -> Result<(), HookError> {
        if self.read_only.retires(created) {
            return Err(HookError::message("its server can only be read"));
        }
        if idle < FRESH {
            return Ok(());
        }
        match tokio::time::timeout(SIGN_OF_LIFE, self.ask(connection)).await {
            Ok(answer) => answer.map(drop).map_err(|error| HookError::message(error.to_string())),
            Err(_) => Err(HookError::message("no sign of life")),
        }
    }

    async fn ask(&self, connection: &mut AsyncPgConnection) -> Result<Service, StoreError> {
        #[derive(QueryableByName)]
        struct Setting {
            #[diesel(sql_type = Text)]
            read_only: String,
        }
        let setting: Setting =
            Statement::new("SELECT current_setting('transaction_read_only') AS read_only")
                .get_result(connection)
                .await?;
        match setting.read_only == "on" {
            true if self.must_take_writes => {
                self.read_only.note();
                Err(StoreError::Unavailable(READ_ONLY.to_owned()))
            }
            true => Ok(Service::ReadOnly),
            false => Ok(Service::Full),
        }
    }
}
