//! Configuration: from flags, environment variables and `.env`, in this order of precedence.
//!
//! This module is right below the roles, since it names types of every floor.
//!
//! The structs here are clap argument groups, and each role chooses those that it needs. Value
//! names are the names of the variables, so that every error message names the variable as well as
//! the flag. What clap can't check by itself is checked by the methods here, before anything
//! starts.

mod access;
mod broker;
mod cache;
mod database;
mod mail;
mod process;
mod requests;
mod telemetry;
mod values;
mod webhooks;
mod work;

pub use access::{AccessArgs, Auth};
pub use broker::{BrokerArgs, RetryArgs};
pub use cache::CacheArgs;
pub use database::DatabaseArgs;
pub use mail::{DEFAULT_MAIL_DIR, MailArgs};
pub use process::{
    DEFAULT_DATA_DIR, DataArgs, HttpArgs, LogArgs, MonitorArgs, ShutdownArgs, TlsArgs,
};
pub use requests::{ApiArgs, LimitArgs, RequestArgs};
pub use telemetry::TelemetryArgs;
pub use values::{duration, name, no_declare, path, since, whole};
pub use webhooks::{WebhookArgs, WebhookSender};
pub use work::{EffectArgs, RetentionArgs, SimulationArgs};

use std::borrow::Cow;

use crate::ground::secret::Secret;

/// A variable that is missing or invalid. The process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: Cow<'static, str>,
    problem: String,
}

impl ConfigError {
    /// An error about one variable.
    pub fn new(variable: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> ConfigError {
        ConfigError { variable: variable.into(), problem: problem.into() }
    }

    /// The variable that is missing or invalid.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Parses the URL in a variable; `None` if it is not set.
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
