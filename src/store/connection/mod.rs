//! Connections to the database: their URL, opening and pooling them, and what their errors mean.

pub(in crate::store) mod conflicts;
pub(in crate::store) mod connect;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod pool;
pub mod pools;
pub mod pooling;
pub(in crate::store) mod sqlstate;
pub(in crate::store) mod url;
