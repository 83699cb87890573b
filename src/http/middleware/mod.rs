//! The layers around each handler: who may call it, how often and for how long, and what is
//! recorded.

pub mod admission;
pub(in crate::http) mod connection;
pub mod cors;
pub(in crate::http) mod headers;
pub mod hosts;
pub mod limits;
pub mod observe;
mod pieces;
pub mod rate_limits;
mod spans;
