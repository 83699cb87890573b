//! Has operators' orders carried out where the database is.

use std::path::Path;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reach::{self, StoppedUp};
use super::runtime;
use crate::config::{ConfigError, DataArgs, DatabaseArgs, TlsArgs};
use crate::ground::tls::Tls;
use crate::http::routes::operator::socket::Refusal;
use crate::operate::OrderError;
use crate::store::{Connection, Store};

/// Where the data is: in a database, else with a running `taskd up`, else in the database of one
/// that doesn't run.
#[derive(clap::Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
}

/// An open database, for an order that needs more of it than one connection.
pub(super) struct Opened<'a> {
    pub(super) store: &'a Store,
    pub(super) tls: &'a Tls,
    /// The data directory of the stopped `taskd up` whose database it is.
    pub(super) data_dir: Option<&'a Path>,
}

impl SourceArgs {
    /// Sends an order to the running `taskd up` at this path of its socket, or carries it out in
    /// the database.
    pub(super) async fn give<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
        by_database: impl AsyncFnOnce(&mut Connection) -> Result<T, OrderError>,
    ) -> anyhow::Result<T> {
        self.give_opened(path, order, async |opened| {
            by_database(&mut *opened.store.connection().await?).await.map_err(refused)
        })
        .await
    }

    /// The same for an order that opens connections by itself.
    pub(super) async fn give_opened<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
        by_store: impl AsyncFnOnce(Opened<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let tls = &self.tls.load()?;
        if let Some(url) = self.database.url(tls)? {
            runtime::check_database(&url).await?;
            let store = &Store::new(&url, 1)?;
            return by_store(Opened { store, tls, data_dir: None }).await;
        }
        if let Some(answer) = ask_up(&self.data, path, order).await? {
            return Ok(answer);
        }
        if let Some(stopped) = StoppedUp::open(&self.data).await? {
            let (store, data_dir) = (&stopped.store, Some(&*self.data.data_dir));
            return by_store(Opened { store, tls, data_dir }).await;
        }
        let directory = self.data.data_dir.display();
        let problem = format!(
            "is not set, and no `taskd up` has run on {directory}: set it to \
             postgres://user:password@host/database, or start `taskd up`"
        );
        Err(ConfigError::new("DATABASE_URL", problem).into())
    }
}

/// Sends an order to the `taskd up` that runs on this directory; `None` if none runs.
pub(super) async fn ask_up<T: DeserializeOwned>(
    data: &DataArgs,
    path: &str,
    order: &impl Serialize,
) -> anyhow::Result<Option<T>> {
    let Some(answer) = reach::ask(data, Method::POST, path, order).await? else { return Ok(None) };
    if answer.status().is_success() {
        return Ok(Some(answer.json().await?));
    }
    let Refusal { field, problem } = answer.json().await?;
    Err(match field {
        Some(field) => ConfigError::new(format!("--{field}"), problem).into(),
        None => anyhow::anyhow!("the `taskd up` on {}: {problem}", data.data_dir.display()),
    })
}

/// An invalid order is a mistake on the command line, so the error names the option.
pub(super) fn refused(error: OrderError) -> anyhow::Error {
    match error {
        OrderError::Invalid { field, problem } => {
            ConfigError::new(format!("--{field}"), problem).into()
        }
        other => other.into(),
    }
}
