//! The `taskd up` that has a data directory, for commands that are about what only it has: it is asked while it runs,
//! and its database is opened while it doesn't.

use anyhow::Context;
use reqwest::{Method, Response};
use serde::Serialize;

use crate::config::{ConfigError, DataArgs};
#[cfg(feature = "embedded")]
use crate::ground::data_dir::DataDir;
use crate::ground::data_dir::operator_socket;
use crate::ground::private;
use crate::store::Store;
use crate::store::connection::embedded::{self, Embedded};
use crate::store::migrations::Migrator;

/// Asks the `taskd up` that runs on the data directory; `None` if none does.
///
/// It is asked on a socket that only this user can reach: an address in a file could be another's by now, and a
/// proxy would be told what is asked.
pub(super) async fn ask(
    data: &DataArgs,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> anyhow::Result<Option<Response>> {
    let Some(socket) = operator_socket(&data.data_dir) else { return Ok(None) };
    // Somebody else's directory names somebody else's socket. Root may ask anybody's.
    if private::user()? != 0 && !private::is_ours(&data.data_dir)? {
        let problem = format!("{} belongs to another user", data.data_dir.display());
        return Err(ConfigError::new("DATA_DIR", problem).into());
    }
    let client = reqwest::Client::builder().no_proxy().unix_socket(socket).build()?;
    let request = client.request(method, format!("http://localhost{path}")).json(body);
    match request.send().await {
        Ok(answer) => Ok(Some(answer)),
        // It has ended, and was killed.
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("the `taskd up` on {} does not answer", data.data_dir.display())
        }),
    }
}

/// The database of a `taskd up` that doesn't run.
pub(super) struct Stopped {
    pub(super) store: Store,
    #[cfg(feature = "embedded")]
    _database: Embedded,
}

impl Stopped {
    /// Opens it; `None` if there is none.
    #[cfg(feature = "embedded")]
    pub(super) async fn open(data: &DataArgs) -> anyhow::Result<Option<Stopped>> {
        if !embedded::files(&data.data_dir).exists() {
            return Ok(None);
        }
        let directory = DataDir::take(&data.data_dir)?;
        let starting = tokio::task::spawn_blocking(move || Embedded::start(directory));
        let database = starting.await??;
        Migrator::connect(database.url()).await?.up()?;
        let store = Store::new(database.url(), 1)?;
        Ok(Some(Stopped { store, _database: database }))
    }

    /// Without an embedded database there is none.
    #[cfg(not(feature = "embedded"))]
    pub(super) async fn open(_: &DataArgs) -> anyhow::Result<Option<Stopped>> {
        Ok(None)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // The database ends when its last client has gone.
        self.store.close();
    }
}
