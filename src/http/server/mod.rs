//! Serving connections, from the first to the last.

pub(in crate::http) mod builder;
mod last_connections;
mod serving;
mod wire;

pub use serving::{Farewell, serve, serve_monitor};
