//! PostgreSQL inside this process, for users who have none. No other file knows of it.
//!
//! It serves one connection at a time, so its pool has a size of one. A crash of the process loses
//! nothing. What a power cut loses is unknown, since fsync is off.

use std::path::{Path, PathBuf};

use anyhow::Context;
use pglite_oxide::{PgliteServer, extensions};

use crate::ground::data_dir::DataDir;
use crate::ground::private;
use crate::ground::tls::Tls;
use crate::store::PostgresUrl;

/// A running database. It stops when this is dropped.
pub struct Embedded {
    server: Option<PgliteServer>,
    url: PostgresUrl,
    /// Released last: nobody else may start a database in it before this one has stopped.
    directory: DataDir,
}

/// Where a data directory has the database's files.
pub fn files(directory: &Path) -> PathBuf {
    directory.join("postgres")
}

/// Where the database engine keeps what it has unpacked. It takes this path from the environment.
pub fn cache(directory: &Path) -> PathBuf {
    directory.join("cache")
}

impl Embedded {
    /// Starts the database in a directory. It listens on a socket that only this user can reach,
    /// since anyone else who connected would own the database. Blocks for some tenths of a second.
    ///
    /// # Errors
    /// The database doesn't start.
    pub fn start(directory: DataDir) -> anyhow::Result<Embedded> {
        let path = directory.path();
        let starting = || {
            private::directory(&files(path), |_| true)?;
            private::directory(&cache(path), |_| true)?;
            PgliteServer::builder()
                .path(files(path))
                .unix(directory.sockets().join(".s.PGSQL.5432"))
                .extension(extensions::PG_TRGM)
                .start()
        };
        let server = starting().with_context(|| {
            format!("the embedded database in {} does not start", path.display())
        })?;
        let url = PostgresUrl::parse(&server.database_url(), &Tls::default())
            .map_err(|problem| anyhow::anyhow!("the embedded database's URL {problem}"))?;
        Ok(Embedded { server: Some(server), url, directory })
    }

    /// The URL of its socket, which is reachable on this machine alone.
    pub fn url(&self) -> &PostgresUrl {
        &self.url
    }

    /// The data directory it runs in.
    pub fn directory(&self) -> &DataDir {
        &self.directory
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(server) = self.server.take()
            && let Err(error) = server.shutdown()
        {
            tracing::warn!(%error, "the embedded database did not stop cleanly");
        }
    }
}
