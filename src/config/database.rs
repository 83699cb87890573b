//! The database's settings.

use clap::Args;

use super::{ConfigError, whole};
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;
use crate::store::PostgresUrl;

const VARIABLE: &str = "DATABASE_URL";

/// Where the tasks are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// PostgreSQL, as postgres://user:password@host:5432/database
    #[arg(long, env = "DATABASE_URL", value_name = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<Secret>,
    /// Connections this process opens at most
    #[arg(long, env = "DATABASE_POOL_SIZE", value_name = "DATABASE_POOL_SIZE", default_value_t = 16,
          value_parser = whole(1..=1000_u16))]
    pub database_pool_size: u16,
}

impl DatabaseArgs {
    /// The checked URL; `None` means the embedded database, for a role that can have one.
    pub fn url(&self, tls: &Tls) -> Result<Option<PostgresUrl>, ConfigError> {
        super::url(VARIABLE, self.database_url.as_ref(), |text| PostgresUrl::parse(text, tls))
    }

    /// The URL, for a role that can't have an embedded database, since several may share one
    /// database.
    pub fn required_url(&self, tls: &Tls) -> Result<PostgresUrl, ConfigError> {
        let missing = "is not set: set it to postgres://user:password@host/database, or run \
                       `taskd up`, which brings a database of its own";
        self.url(tls)?.ok_or_else(|| ConfigError::new(VARIABLE, missing))
    }
}
