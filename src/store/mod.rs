//! PostgreSQL: the only module that speaks SQL. Each function is one statement where possible.

pub mod accounts;
pub mod activity;
pub mod cache_guard;
pub mod categories;
pub mod connection;
pub mod delivery;
pub mod events;
pub mod gates;
pub mod idempotency_keys;
pub mod installation;
pub mod letters;
pub mod mail_limits;
pub mod migrations;
pub mod operation;
mod schema;
mod sql;
mod spans;
pub mod task_list;
pub mod tasks;
pub mod webhooks;

pub(crate) use connection::conflicts::unless_in_conflict;
pub use connection::conflicts::{Conflicts, MaybeConflict};
pub use connection::pool::{READ_ONLY, Service, Store};
pub use connection::pools::Pools;
pub use connection::url::PostgresUrl;
pub use diesel_async::AsyncPgConnection as Connection;
pub use sql::transaction;

use diesel::result::{DatabaseErrorKind, Error};

/// What can go wrong in the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached, is starting or stopping, is full, or takes no writes: the
    /// same may work later, on another connection.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// The server refuses our credentials, or has no such database: the same will not work until
    /// somebody fixes that.
    #[error("DATABASE_URL: {0}")]
    Refused(String),
    /// Another transaction was in the way, and nothing was done: the same may work at once.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// The statement exceeded its time limit, and nothing was done.
    #[error("the statement took too long: {0}")]
    TooSlow(String),
    /// A row refers to another that doesn't exist.
    #[error("constraint {0} is violated")]
    Missing(String),
    /// A value that must be unique is taken.
    #[error("constraint {0} is violated")]
    Taken(String),
    /// Refused because of what the database has; nothing was written.
    #[error("{0}")]
    Denied(accounts::credentials::Refusal),
    /// Anything else: a fault of ours.
    #[error("database error: {0}")]
    Fault(String),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        let Error::DatabaseError(kind, information) = &error else {
            return StoreError::Fault(error.to_string());
        };
        let constraint = || information.constraint_name().unwrap_or("?").to_owned();
        match kind {
            DatabaseErrorKind::ForeignKeyViolation => StoreError::Missing(constraint()),
            DatabaseErrorKind::UniqueViolation => StoreError::Taken(constraint()),
            _ => match information.column_name() {
                Some(code) => by_code(code, format!("{error} (SQLSTATE {code})")),
                // The client's own error: the connection is gone.
                None if matches!(
                    kind,
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand
                ) =>
                {
                    StoreError::Unavailable(error.to_string())
                }
                None => StoreError::Fault(error.to_string()),
            },
        }
    }
}

/// Decides what an error means by its SQLSTATE, never by its text, which is in the server's
/// language (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). The code comes in
/// the error's column field (see `sqlstate`).
fn by_code(code: &str, text: String) -> StoreError {
    match code {
        // The server takes no writes: a standby, or what was the primary before a failover.
        "25006" => StoreError::Unavailable(text),
        // The server has ended a session whose transaction was idle or open for too long.
        "25P03" | "25P04" => StoreError::Unavailable(text),
        // The server stops, has crashed or is starting; the database was dropped; or the server has
        // ended an idle session.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => StoreError::Unavailable(text),
        // A serialization failure, a deadlock, or a lock that is not available.
        "40001" | "40P01" | "55P03" => StoreError::Conflict(text),
        // A statement's own time limit.
        "57014" => StoreError::TooSlow(text),
        // Failed connections, and resources that have run out: disk, memory, connections.
        _ if code.starts_with("08") || code.starts_with("53") => StoreError::Unavailable(text),
        _ => StoreError::Fault(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_itself_is_told_by_its_kind() {
        let error = |kind| StoreError::from(Error::DatabaseError(kind, Box::new(String::new())));
        for gone in [DatabaseErrorKind::ClosedConnection, DatabaseErrorKind::UnableToSendCommand] {
            assert!(matches!(error(gone), StoreError::Unavailable(_)));
        }
        assert!(matches!(error(DatabaseErrorKind::Unknown), StoreError::Fault(_)));
        assert!(matches!(StoreError::from(Error::NotFound), StoreError::Fault(_)));
    }
}
