//! The roles: each file or folder puts the library's modules together for one subcommand. `runtime`
//! starts and stops the roles that run until they are told to stop, `parts` and `worker` build what
//! several roles need, `configuration` knows what they are configured with, and `upkeep` keeps
//! their database fast.

pub mod audit;
mod configuration;
pub mod dlq;
pub mod doctor;
pub mod effects;
pub mod events;
pub mod migrate;
mod parts;
mod progress;
pub mod ps;
pub mod purge;
mod reach;
mod runtime;
pub mod serve;
mod source;
pub mod token;
pub mod topology;
pub mod up;
mod upkeep;
pub mod webhooks;
pub mod work;
mod worker;

pub use configuration::Invocation;
