//! PostgreSQL inside this process, for those who have none: the only file that knows of it.
//!
//! It serves one connection at a time, so a pool on it has a size of one. A crash of the process loses
//! nothing; what a power cut loses is not known, since its fsync is off.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use pglite_oxide::{PgliteServer, extensions};

use crate::store::PostgresUrl;
use crate::tls::Tls;

/// A running database. It stops when this is dropped.
pub struct Embedded {
    server: Option<PgliteServer>,
    url: PostgresUrl,
    /// Held for as long as the database runs, also if the process is killed.
    _lock: File,
}

impl Embedded {
    /// Starts the database in a directory, which is made if it isn't there. Blocks for the time that
    /// takes, some tenths of a second.
    ///
    /// # Errors
    /// Another process uses the directory, or the database doesn't start.
    pub fn start(directory: &Path) -> anyhow::Result<Embedded> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("the data directory {} can't be made", directory.display()))?;
        let lock = lock(&directory.join("lock"), directory)?;
        let server = PgliteServer::builder()
            .path(directory.join("postgres"))
            .extension(extensions::PG_TRGM)
            .start()
            .with_context(|| {
                format!("the embedded database in {} does not start", directory.display())
            })?;
        let url = PostgresUrl::parse(&server.database_url(), &Tls::default())
            .map_err(|problem| anyhow::anyhow!("the embedded database's URL {problem}"))?;
        Ok(Embedded { server: Some(server), url, _lock: lock })
    }

    /// Where it answers, on this machine alone.
    pub fn url(&self) -> &PostgresUrl {
        &self.url
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

/// Two processes on one directory would destroy it. The file says who has it.
fn lock(path: &PathBuf, directory: &Path) -> anyhow::Result<File> {
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            anyhow::bail!(
                "the data directory {} is in use by process {}: stop it, or choose another with --data-dir",
                directory.display(),
                pid.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("{} can't be locked", path.display()));
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}
