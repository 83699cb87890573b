//! Why an order was refused.

use crate::ground::output::OutputError;
use crate::store::StoreError;

/// Why an operator's order was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The order is invalid.
    #[error("{field}: {problem}")]
    Invalid {
        /// The member of the order.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// What the order is about doesn't exist.
    #[error("there is no {0}")]
    Missing(String),
    /// It can't be carried out as things are; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// What was made could not be shown.
    #[error("{0}; no token was made")]
    NotShown(OutputError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
