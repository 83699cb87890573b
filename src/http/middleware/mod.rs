//! What stands around each handler: who may, how often, for how long, and what is noted of it.

pub mod admission;
pub(in crate::http) mod connection;
pub mod cors;
pub(in crate::http) mod headers;
pub mod hosts;
pub mod limits;
pub mod observe;
pub mod rate_limits;
