//! Events for others by HTTP: signed as Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>), and
//! sent nowhere but where the public internet or `WEBHOOK_ALLOW` is.
//!
//! `fan_out` makes a delivery of each event for each endpoint, `dispatcher` sends those that are
//! due, and `orders` is what people ask for.

mod fan_out;
mod dispatcher;
mod delivery;
mod window;
mod trouble;
pub mod orders;
pub mod keyring;
pub mod client;
pub mod address;
pub mod signature;

pub use dispatcher::Dispatcher;
pub use fan_out::FanOut;
