//! What operators look at, and nothing correct depends on.

pub mod processes;
