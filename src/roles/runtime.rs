//! Starts and stops the roles that run until they are told to stop.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpSocket;

use super::parts::{self, RoleContext};
use crate::broker::{Broker, BrokerError};
use crate::config::MonitorArgs;
use crate::domain::presence::Role;
use crate::ground::shutdown::{Shutdown, stop_on_signals};
use crate::store::connection::pooling::pools_transactions;
use crate::store::{PostgresUrl, Store, StoreError, migrations};

/// What a role that runs until it is told to stop is started with.
pub(super) struct Setup<'a> {
    /// What the process is, and what it is called.
    pub(super) identity: (Role, &'a str),
    pub(super) database_url: &'a PostgresUrl,
    pub(super) store: Store,
    pub(super) broker: Arc<dyn Broker>,
    /// Whether somebody else declares the queues.
    pub(super) no_declare: bool,
    /// Where health and metrics are served, for a role without an API.
    pub(super) monitor: Option<&'a MonitorArgs>,
    pub(super) drain_timeout: Duration,
}

/// Runs a role from its start to the end of its drain. From here on signals stop it. The database
/// and the broker are checked first; the role is not run if one of them can't be used.
///
/// # Errors
/// A dependency is not as it must be, signals can't be handled, an address is taken, or the role's.
pub(super) async fn run(
    setup: Setup<'_>,
    role: impl AsyncFnOnce(RoleContext, Shutdown) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let Setup { identity, database_url, store, broker, no_declare, monitor, drain_timeout } = setup;
    let listen_on = |address| listen(address, "METRICS_ADDR", "METRICS_ADDR");
    let listener = monitor.and_then(|args| args.metrics_addr).map(listen_on).transpose()?;
    let shutdown = stop_signal(drain_timeout)?;
    check_database(database_url).await?;
    meet(broker.as_ref(), no_declare).await?;
    let context = RoleContext::new(store, Arc::clone(&broker))?;
    if let (Some(listener), Some(args)) = (listener, monitor) {
        parts::monitor(listener, &context, args.metrics_public)?;
    }
    let noted = context.noted(identity.0, identity.1);
    let ran = role(context, shutdown.clone()).await;
    let parting = async {
        tokio::join!(noted.end(), broker.close());
    };
    shutdown.last_step(parting).await;
    ran?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// A stop signal for the whole process, which SIGINT and SIGTERM trigger.
pub(super) fn stop_signal(drain_timeout: Duration) -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::new(drain_timeout);
    stop_on_signals(shutdown.clone()).context("signals can't be handled")?;
    Ok(shutdown)
}

/// Connects to the broker, and declares the topology unless somebody else does. The process starts
/// even if the broker is down: whoever needs the queues declares them again if they are missing. It
/// does not start if the broker refuses the connection, or if a queue differs from ours.
pub(super) async fn meet(broker: &dyn Broker, no_declare: bool) -> anyhow::Result<()> {
    let met = if no_declare { broker.ping().await } else { broker.declare().await };
    match met {
        Ok(()) => Ok(()),
        Err(error @ (BrokerError::Refused(_) | BrokerError::Drift(_))) => Err(error.into()),
        // Somebody else may have declared the queues.
        Err(error @ BrokerError::Forbidden(_)) => {
            tracing::warn!(%error, "starting without having declared the queues; NO_DECLARE leaves that to others");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%error, "starting without the broker");
            Ok(())
        }
    }
}

/// Fails if the database can't be used: it refuses the connection, its schema is behind this
/// program, or it is behind a pooler that shares sessions between transactions. The process starts
/// even if the database is down.
pub(super) async fn check_database(url: &PostgresUrl) -> anyhow::Result<()> {
    let pending = match check_sessions(url).await {
        Ok(()) => migrations::status(url).await,
        Err(error) => Err(error),
    };
    let pending = match pending {
        Ok(all) => all.into_iter().filter(|migration| !migration.applied).count(),
        Err(error @ StoreError::Unavailable(_)) => {
            tracing::warn!(%error, "starting without the database");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if pending > 0 {
        anyhow::bail!("the database lacks {pending} migrations: run `taskd migrate` first");
    }
    Ok(())
}

/// Fails on a pooler that shares sessions between transactions.
pub(super) async fn check_sessions(url: &PostgresUrl) -> Result<(), StoreError> {
    match pools_transactions(url).await? {
        false => Ok(()),
        true => Err(StoreError::Refused(
            "it leads to a pooler that shares sessions between transactions (in pgbouncer \
             pool_mode=transaction or statement), and taskd needs a session for each connection: set \
             pool_mode=session, or name PostgreSQL itself"
                .to_owned(),
        )),
    }
}

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens on an address. `host` and `port` name the variables that set it.
pub(super) fn listen(address: SocketAddr, host: &str, port: &str) -> anyhow::Result<TcpListener> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listening().map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "{address} is in use by another process: stop it, or set {port} to another"
            )
        }
        std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{port}: this user may not listen on {address}: set it to 1024 or more"
        ),
        _ => anyhow::anyhow!(
            "{host}: {address} can't be listened on, which must be an address of this machine: {error}"
        ),
    })
}
