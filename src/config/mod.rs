//! Configuration: by flag, by environment variable, by `.env`, in that order.
//!
//! This stands right below the roles, since it names types of every floor.
//!
//! The structs here are clap argument groups that the roles choose from. Value names are the
//! variables' names, so that every complaint names the variable as well as the flag. What clap
//! can't check alone is checked by the methods here, before anything starts.

mod access;
mod api;
mod broker;
mod cache;
mod database;
mod limits;
mod mail;
mod process;
mod requests;
mod tls;
mod work;

pub use access::{AccessArgs, Auth};
pub use api::ApiArgs;
pub use broker::{BrokerArgs, RetryArgs};
pub use cache::CacheArgs;
pub use database::DatabaseArgs;
pub use limits::LimitArgs;
pub use mail::{DEFAULT_MAIL_DIR, MailArgs};
pub use process::{DataArgs, HttpArgs, LogArgs, MonitorArgs, ShutdownArgs};
pub use requests::RequestArgs;
pub use tls::TlsArgs;
pub use work::{RetentionArgs, SimulationArgs};

use std::time::Duration;

use crate::secret::Secret;

/// A variable that is absent or can't be used. The process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: &'static str,
    problem: String,
}

impl ConfigError {
    /// A complaint about one variable.
    pub fn new(variable: &'static str, problem: impl Into<String>) -> ConfigError {
        ConfigError { variable, problem: problem.into() }
    }
}

/// A duration such as `90s` or `30d`, above zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(d) if !d.is_zero() => Ok(d),
        Ok(_) => Err("must be longer than zero".into()),
        Err(e) => Err(format!("not a duration such as 90s or 30d: {e}")),
    }
}

/// The value of `NO_DECLARE`: a flag has no value name by which a complaint would name the variable.
pub fn no_declare(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "NO_DECLARE must be true or false".to_owned())
}

/// The URL in a variable, read; `None` where it is not set.
fn url<T>(
    variable: &'static str,
    value: Option<&Secret>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = value.map(Secret::expose) else { return Ok(None) };
    if text.trim().is_empty() {
        return Err(ConfigError::new(variable, "is empty: give it a value or unset it"));
    }
    read(text).map(Some).map_err(|problem| ConfigError::new(variable, problem))
}
