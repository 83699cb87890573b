//! Access to the `taskd up` of a data directory, for commands about what only that process has.
//! While it runs, it is asked over its socket; while it doesn't, its database is opened.

use anyhow::Context;
use reqwest::{Method, Response};
use serde::Serialize;

use crate::config::{ConfigError, DataArgs};
use crate::ground::data_dir::operator_socket;
use crate::ground::private;
use crate::ground::tls::http_client;
use crate::store::Store;
#[cfg(feature = "embedded")]
use crate::{
    ground::data_dir::DataDir,
    store::connection::embedded::{self, Embedded},
    store::migrations::bring_up_to_date,
};

/// Sends a request to the `taskd up` that runs on the data directory; `None` if none runs.
///
/// The request goes to a socket that only this user can reach. An address in a file could belong to
/// another process by now, and a proxy would see the request.
pub(super) async fn ask(
    data: &DataArgs,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> anyhow::Result<Option<Response>> {
    let Some(socket) = operator_socket(&data.data_dir) else { return Ok(None) };
    // A socket in another user's directory is another user's. Root may ask any of them.
    if private::user()? != 0 && !private::is_ours(&data.data_dir)? {
        let problem = format!("{} belongs to another user", data.data_dir.display());
        return Err(ConfigError::new("DATA_DIR", problem).into());
    }
    let client = http_client().no_proxy().unix_socket(socket).build()?;
    let request = client.request(method, format!("http://localhost{path}")).json(body);
    match request.send().await {
        Ok(answer) => Ok(Some(answer)),
        // It was killed and has left its socket behind.
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("the `taskd up` on {} does not answer", data.data_dir.display())
        }),
    }
}

/// The database of a `taskd up` that doesn't run.
pub(super) struct StoppedUp {
    pub(super) store: Store,
    #[cfg(feature = "embedded")]
    _database: Embedded,
}

impl StoppedUp {
    /// Opens the database; `None` if there is none.
    #[cfg(feature = "embedded")]
    pub(super) async fn open(data: &DataArgs) -> anyhow::Result<Option<StoppedUp>> {
        if !embedded::files(&data.data_dir).exists() {
            return Ok(None);
        }
        let directory = DataDir::take(&data.data_dir)?;
        let starting = tokio::task::spawn_blocking(move || Embedded::start(directory));
        let database = starting.await??;
        bring_up_to_date(database.url()).await?;
        let store = Store::new(database.url(), 1)?;
        Ok(Some(StoppedUp { store, _database: database }))
    }

    /// This build has no embedded database, so there is nothing to open.
    #[cfg(not(feature = "embedded"))]
    pub(super) async fn open(_: &DataArgs) -> anyhow::Result<Option<StoppedUp>> {
        Ok(None)
    }
}

impl Drop for StoppedUp {
    fn drop(&mut self) {
        // The embedded database stops when its last client disconnects.
        self.store.close();
    }
}
