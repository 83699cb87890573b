//! What operators look at, and nothing correct depends on.

pub mod canaries;
pub mod demo;
pub mod inspect;
pub mod minutes;
pub mod processes;
pub mod pulse;
