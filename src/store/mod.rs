//! PostgreSQL: the only module that speaks SQL. Each function is one statement where it can be.

pub mod accounts;
pub mod activity;
pub mod cache_guard;
pub mod categories;
pub mod connection;
pub mod delivery;
pub mod events;
pub mod idempotency_keys;
pub mod installation;
pub mod mail_limits;
pub mod migrations;
mod schema;
mod sql;
pub mod task_list;
pub mod tasks;

pub use connection::conflicts::Conflicts;
pub use connection::pool::{READ_ONLY, Service, Store};
pub use connection::url::PostgresUrl;
pub use diesel_async::AsyncPgConnection as Connection;
pub(crate) use sql::transaction;

use diesel::result::{DatabaseErrorKind, Error};

/// What can go wrong in the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is going down or coming up, is full, or takes no writes: the same may work
    /// later, on another connection.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// It refuses who asks, or has no such database: the same will not work until somebody mends it.
    #[error("DATABASE_URL: {0}")]
    Refused(String),
    /// Another transaction was in the way, and nothing was done: the same may work at once.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// The statement took longer than it may, and nothing was done.
    #[error("the statement took too long: {0}")]
    TooSlow(String),
    /// A row names another that doesn't exist.
    #[error("constraint {0} is violated")]
    Missing(String),
    /// A value that must be unique is taken.
    #[error("constraint {0} is violated")]
    Taken(String),
    /// What was asked for can't be, by what the database has: nothing was written.
    #[error("{0}")]
    Denied(accounts::credentials::Refusal),
    /// Anything else is a fault of ours.
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
                // The client's own words: there is no connection any more.
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

/// What an error means, by its SQLSTATE: never by its text, which is in the server's language
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). The code comes in the field for a
/// column (see `sqlstate`).
fn by_code(code: &str, text: String) -> StoreError {
    match code {
        // It takes no writes: a standby, or a primary before a failover.
        "25006" => StoreError::Unavailable(text),
        // The server has ended the session of somebody who was silent in a transaction.
        "25P03" | "25P04" => StoreError::Unavailable(text),
        // It is shut down, has crashed, is starting, was dropped, or has ended an idle session.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => StoreError::Unavailable(text),
        // A serialization failure, a deadlock, a lock that was not to be had.
        "40001" | "40P01" | "55P03" => StoreError::Conflict(text),
        // A statement's own time limit.
        "57014" => StoreError::TooSlow(text),
        // Connections that fail, and resources that have run out: disk, memory, connections.
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
