//! The roles: each file or folder wires the library's modules up for one subcommand. `runtime` starts and ends those
//! that go on until they are told to stop, `parts` has what more than one of them is made of, and `upkeep` keeps
//! their database quick.

pub mod dlq;
pub mod migrate;
mod parts;
pub mod purge;
mod reach;
mod runtime;
pub mod serve;
pub mod token;
pub mod topology;
pub mod up;
mod upkeep;
pub mod work;
