//! The roles: each file wires the library's modules up for one subcommand; `parts` has what more than
//! one of them is made of, `upkeep` what keeps their database quick.

pub mod dlq;
pub mod migrate;
mod parts;
pub mod purge;
pub mod serve;
pub mod token;
pub mod topology;
pub mod up;
mod upkeep;
pub mod work;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpSocket;

use crate::broker::{Broker, BrokerError};
use crate::shutdown::{Shutdown, stop_on_signals};
use crate::store::PostgresUrl;
use crate::store::migrations::Migrator;

/// A stop signal for the whole process.
fn shutdown(drain_timeout: Duration) -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::new(drain_timeout);
    stop_on_signals(shutdown.clone()).context("signals can't be handled")?;
    Ok(shutdown)
}

/// Declares the topology. A broker that is away is no reason not to start: what needs the queues
/// declares them again when it finds them missing. A queue that differs is one.
async fn declare_at_start(broker: &dyn Broker) -> anyhow::Result<()> {
    match broker.declare().await {
        Ok(()) => Ok(()),
        Err(error @ BrokerError::Drift(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "starting without the broker");
            Ok(())
        }
    }
}

/// Refuses a database whose schema is behind this program. One that is away is no reason not to
/// start.
async fn check_schema(url: &PostgresUrl) -> anyhow::Result<()> {
    let mut migrator = match Migrator::connect(url).await {
        Ok(migrator) => migrator,
        Err(error) => {
            tracing::warn!(%error, "starting without the database");
            return Ok(());
        }
    };
    let pending = migrator.status()?.into_iter().filter(|m| !m.applied).count();
    if pending > 0 {
        anyhow::bail!("the database lacks {pending} migrations: run `taskd migrate` first");
    }
    Ok(())
}

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens on an address; `variable` is what to change if somebody else does.
fn listen(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listening().map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "{address} is in use by another process: stop it, or set {variable} to another"
            )
        }
        _ => anyhow::anyhow!("{address} can't be listened on: {error}"),
    })
}

/// Says on standard error what is wrong. Where nobody listens there is nothing to be done.
pub fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "taskd: {text}");
}

/// Prints a line to standard output. A reader that has gone, as `head` does, is no error.
fn print(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
