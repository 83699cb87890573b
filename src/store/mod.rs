//! PostgreSQL: the only module that speaks SQL. Each function is one statement where it can be.

pub mod activity;
pub mod cache_guard;
pub mod categories;
pub mod defective;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod events;
pub mod idempotency_keys;
pub mod migrations;
pub mod outbox;
pub mod pool;
pub mod processed;
pub mod queue;
pub mod retention;
mod schema;
mod sql;
pub mod task_list;
pub mod tasks;
pub mod tokens;
mod url;
pub mod users;

pub use diesel_async::AsyncPgConnection as Connection;
pub use pool::Store;
pub use url::PostgresUrl;

use diesel::result::{DatabaseErrorKind, Error};

/// What can go wrong in the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, or is going down or coming up: the same may work later.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// A row names another that doesn't exist.
    #[error("constraint {0} is violated")]
    Missing(String),
    /// A value that must be unique is taken.
    #[error("constraint {0} is violated")]
    Taken(String),
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
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::SerializationFailure => StoreError::Unavailable(error.to_string()),
            _ if passes(information.message()) => StoreError::Unavailable(error.to_string()),
            _ => StoreError::Fault(error.to_string()),
        }
    }
}

/// Diesel does not tell the SQLSTATE of these (classes 53 and 57, and lock timeouts:
/// https://www.postgresql.org/docs/current/errcodes-appendix.html), so their texts must do.
fn passes(message: &str) -> bool {
    [
        "terminating connection",
        "the database system is",
        "connection closed",
        "too many clients",
        "remaining connection slots",
        "deadlock detected",
        "canceling statement due to",
        "No space left on device",
        "out of memory",
        "error communicating with the server",
    ]
    .iter()
    .any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_from_a_fault() {
        let error = |kind, text: &str| Error::DatabaseError(kind, Box::new(text.to_owned()));
        for text in [
            "terminating connection due to administrator command",
            "the database system is starting up",
        ] {
            let error = StoreError::from(error(DatabaseErrorKind::Unknown, text));
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
        let fault =
            StoreError::from(error(DatabaseErrorKind::Unknown, "column \"x\" does not exist"));
        assert!(matches!(fault, StoreError::Fault(_)));
        assert!(matches!(StoreError::from(Error::NotFound), StoreError::Fault(_)));
    }
}
