//! The database that `taskd up` uses.

use std::path::Path;

use super::super::{parts, runtime};
use super::{Args, demo};
use crate::config::ConfigError;
use crate::ground::data_dir::{DataDir, DataDirError};
use crate::ground::tls::Tls;
use crate::http::routes::operator::socket::{self, OperatorServer};
use crate::store::accounts::users;
use crate::store::delivery::{outbox, processed};
use crate::store::migrations::{bring_up_to_date, made_schema};
use crate::store::{PostgresUrl, Store};
use crate::webhooks::orders::Webhooks;

/// The database: one given by URL, or the embedded one.
pub(super) enum Database {
    Given(Box<PostgresUrl>, Option<DataDir>),
    #[cfg(feature = "embedded")]
    Embedded(Box<crate::store::connection::embedded::Embedded>),
}

impl Database {
    /// Opens the database and brings it up to date.
    pub(super) async fn open(args: &Args, tls: &Tls) -> anyhow::Result<(Database, Store)> {
        let database = Database::start(args, tls, take(args, tls)?).await?;
        // The embedded database serves one connection at a time, and there is no pooler in between.
        if !database.is_embedded() {
            runtime::check_sessions(database.url()).await?;
        }
        let applied = bring_up_to_date(database.url()).await?;
        let pool_size = if database.is_embedded() { 1 } else { args.database.database_pool_size };
        let store = Store::new(database.url(), pool_size.into())?;
        if made_schema(&applied) {
            // The example that the panel shows creates a task for user 1.
            users::add_example(&mut *store.connection().await?).await?;
        }
        if database.is_embedded() {
            take_over(args, tls, &store).await?;
        }
        Ok((database, store))
    }

    async fn start(args: &Args, tls: &Tls, directory: Option<DataDir>) -> anyhow::Result<Database> {
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

    /// The path of the data directory, if this process has taken it.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.taken().map(DataDir::path)
    }

    fn taken(&self) -> Option<&DataDir> {
        match self {
            Database::Given(_, directory) => directory.as_ref(),
            #[cfg(feature = "embedded")]
            Database::Embedded(embedded) => Some(embedded.directory()),
        }
    }

    /// Starts to take orders of the user who runs this process, which other commands give.
    pub(super) fn take_orders(
        &self,
        store: &Store,
        webhooks: &Webhooks,
    ) -> std::io::Result<Option<OperatorServer>> {
        let start = |directory: &DataDir| {
            socket::start(&directory.operator_socket(), store.clone(), webhooks.clone())
        };
        self.taken().map(start).transpose()
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

/// Releases the leases and claims of a process that was killed, instead of waiting for them to
/// expire. An embedded database is used by one process alone, so they can't belong to anybody else.
async fn take_over(args: &Args, tls: &Tls, store: &Store) -> anyhow::Result<()> {
    let mut connection = store.connection().await?;
    outbox::release_all(&mut connection).await?;
    processed::release_all(&mut connection).await?;
    drop(connection);
    if args.broker.url(tls)?.is_none() {
        parts::tables(&args.broker, store)?.release_taken().await?;
    }
    Ok(())
}

/// Takes the data directory. A process with a database given by URL also starts without it, if
/// another process has it.
fn take(args: &Args, tls: &Tls) -> anyhow::Result<Option<DataDir>> {
    let given = args.database.url(tls)?.is_some();
    match DataDir::take(args.data_dir()) {
        Ok(directory) if given => Ok(Some(directory)),
        Ok(directory) => demo::keep_apart(args.demo, &directory).map(|()| Some(directory)),
        Err(error) if given => {
            tracing::warn!(%error, "commands on this machine reach this process by its DATABASE_URL alone");
            Ok(None)
        }
        Err(error @ DataDirError::InUse { .. }) => Err(error.into()),
        Err(error) => Err(ConfigError::new("DATA_DIR", error.to_string()).into()),
    }
}
