//! Events for others by HTTP: signed as Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>), and
//! sent nowhere but where the public internet or `WEBHOOK_ALLOW` is.

pub mod address;
pub mod client;
pub mod signature;
