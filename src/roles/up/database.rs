//! The database that `taskd up` uses.

use super::Args;
use crate::config::ConfigError;
use crate::ground::data_dir::DataDir;
use crate::ground::tls::Tls;
use crate::store::PostgresUrl;

/// The database: one given by URL, or the embedded one.
pub(super) enum Database {
    Given(Box<PostgresUrl>, Option<DataDir>),
    #[cfg(feature = "embedded")]
    Embedded(Box<crate::store::connection::embedded::Embedded>),
}

impl Database {
    pub(super) async fn open(
        args: &Args,
        tls: &Tls,
        directory: Option<DataDir>,
    ) -> anyhow::Result<Database> {
        if let Some(url) = args.database.url(tls)? {
            return Ok(Database::Given(Box::new(url), directory));
        }
        #[cfg(feature = "embedded")]
        if let Some(directory) = directory {
            let starting = move || crate::store::connection::embedded::Embedded::start(directory);
            return Ok(Database::Embedded(Box::new(tokio::task::spawn_blocking(starting).await??)));
        }
        Err(ConfigError::new("DATABASE_URL", "is not set, and this build has no embedded database")
            .into())
    }

    /// The data directory, if this process has taken it.
    pub(super) fn directory(&self) -> Option<&DataDir> {
        match self {
            Database::Given(_, directory) => directory.as_ref(),
            #[cfg(feature = "embedded")]
            Database::Embedded(embedded) => Some(embedded.directory()),
        }
    }

    pub(super) fn url(&self) -> &PostgresUrl {
        match self {
            Database::Given(url, _) => url,
            #[cfg(feature = "embedded")]
            Database::Embedded(embedded) => embedded.url(),
        }
    }

    pub(super) fn is_embedded(&self) -> bool {
        match self {
            Database::Given(..) => false,
            #[cfg(feature = "embedded")]
            Database::Embedded(_) => true,
        }
    }
}
