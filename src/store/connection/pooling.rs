//! Detects a pooler that shares sessions between transactions.
//!
//! taskd prepares statements, sets time limits and takes advisory locks, all of which belong to a
//! session. Behind a pooler that gives each transaction another session (pgbouncer's
//! `pool_mode=transaction`) some statements fail, and others run with somebody else's settings. So
//! taskd refuses such a pooler at the start.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::store::connection::connect::{PATIENCE, client};
use crate::store::connection::sqlstate::ReadOnlySince;
use crate::store::{PostgresUrl, StoreError};

/// How often the sessions of two connections are compared. A pooler hands out the session that was
/// used last, so if nobody else uses the pooler, the first comparison tells.
const ROUNDS: usize = 4;

/// Whether the sessions behind this URL change between transactions.
///
/// # Errors
/// The database can't be reached, or refuses the connection.
pub async fn pools_transactions(url: &PostgresUrl) -> Result<bool, StoreError> {
    let comparing = tokio::time::timeout(2 * PATIENCE, differ(url)).await;
    comparing.unwrap_or_else(|_| Err(StoreError::Unavailable("its sessions don't answer".into())))
}

async fn differ(url: &PostgresUrl) -> Result<bool, StoreError> {
    let read_only = ReadOnlySince::default();
    let one = client(url, PATIENCE, "0", &read_only).await?;
    let other = client(url, PATIENCE, "0", &read_only).await?;
    let first = (session(&one).await?, session(&other).await?);
    for round in 1..ROUNDS {
        // The order alternates, so each connection is asked twice in a row. Otherwise a pooler that
        // deals out two sessions in turn (pgbouncer's `server_round_robin`) would seem to keep
        // them.
        let again = match round % 2 {
            1 => {
                let others = session(&other).await?;
                (session(&one).await?, others)
            }
            _ => (session(&one).await?, session(&other).await?),
        };
        if first.0 == first.1 || again != first {
            return Ok(true);
        }
    }
    Ok(first.0 == first.1)
}

/// The server process behind this connection. The statement is not prepared: prepared statements
/// are among the things that fail behind such a pooler.
async fn session(client: &Client) -> Result<Option<String>, StoreError> {
    let answers = client.simple_query("SELECT pg_backend_pid()").await;
    let answers = answers.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
