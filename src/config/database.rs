//! The database's settings.

use std::str::FromStr;

use clap::Args;

use super::{ConfigError, present};
use crate::secret::Secret;

/// Where the tasks are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// PostgreSQL, as postgres://user:password@host:5432/database
    #[arg(long, env = "DATABASE_URL", value_name = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<Secret>,
    /// Connections this process opens at most
    #[arg(long, env = "DATABASE_POOL_SIZE", value_name = "DATABASE_POOL_SIZE", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub database_pool_size: u16,
}

impl DatabaseArgs {
    /// The URL, checked; absent means the embedded database, for a role that can have one.
    pub fn url(&self) -> Result<Option<Secret>, ConfigError> {
        const VARIABLE: &str = "DATABASE_URL";
        let Some(url) = present(VARIABLE, self.database_url.as_ref())? else { return Ok(None) };
        let problem = |text: String| ConfigError::new(VARIABLE, text);
        if !["postgres://", "postgresql://"].iter().any(|s| url.expose().starts_with(s)) {
            return Err(problem("must begin with postgres://".into()));
        }
        let config = tokio_postgres::Config::from_str(url.expose())
            .map_err(|e| problem(format!("can't be read as a PostgreSQL URL: {e}")))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(problem("names no host".into()));
        }
        Ok(Some(url.clone()))
    }

    /// The URL, for a role of which many may run on one database.
    pub fn required_url(&self) -> Result<Secret, ConfigError> {
        let missing = "is not set: set it to postgres://user:password@host/database, or run \
                       `taskd up`, which brings a database of its own";
        self.url()?.ok_or_else(|| ConfigError::new("DATABASE_URL", missing))
    }
}
