//! The data directory of `taskd up`: which process has it, and where its sockets are.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::ground::private;
use crate::ground::secret::Secret;

/// How long a socket's path may be, in bytes: on Linux it is 107, elsewhere 103
/// (<https://man7.org/linux/man-pages/man7/unix.7.html>).
const SOCKET_PATH_BYTES: usize = 103;
/// The longest name of a socket, with the slash before it.
const SOCKET_NAME_BYTES: usize = "/.s.PGSQL.5432".len();

/// A data directory that this process has taken.
pub struct DataDir {
    path: PathBuf,
    sockets: PathBuf,
    /// Held for as long as the process lives, and released even if it is killed.
    _lock: File,
}

/// Why a data directory can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by process {process}: stop it, or choose another with --data-dir",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it.
        process: String,
    },
    /// It can't be used.
    #[error("the data directory {} can't be used: {problem}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The cause.
        problem: String,
    },
}

impl DataDir {
    /// Takes a directory, and creates it if it is missing. What is in it is for this user alone.
    ///
    /// # Errors
    /// Another process has it, or it can't be used.
    pub fn take(path: &Path) -> Result<DataDir, DataDirError> {
        let unusable = |error: std::io::Error| DataDirError::Unusable {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let path = std::path::absolute(path).map_err(unusable)?;
        private::directory(&path, |name| NAMES.contains(&name)).map_err(unusable)?;
        let lock = lock(&path)?;
        let sockets = sockets(&path).map_err(unusable)?;
        Ok(DataDir { path, sockets, _lock: lock })
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the sockets, which only this user can enter.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The socket on which a `taskd up` takes orders from this user.
    pub fn operator_socket(&self) -> PathBuf {
        self.sockets.join(OPERATOR)
    }

    /// Whether somebody's data is in it already.
    pub fn has_data(&self) -> bool {
        ["postgres", "mail"].iter().any(|name| self.path.join(name).exists())
    }

    /// Whether it is marked as that of a demo.
    pub fn is_of_demo(&self) -> bool {
        self.path.join(DEMO).exists()
    }

    /// Marks it as that of a demo.
    ///
    /// # Errors
    /// The mark can't be written.
    pub fn mark_as_of_demo(&self) -> std::io::Result<()> {
        private::open(&self.path.join(DEMO), &private::options()).map(drop)
    }
}

const OPERATOR: &str = "operator";
/// The file that holds the path of the sockets' directory.
const SOCKETS: &str = "sockets";
/// The file that marks the directory of a demo.
const DEMO: &str = "demo";
/// The file that holds the key of secrets.
const SECRET_KEY: &str = "secret-key";
/// What taskd puts into a data directory, in earlier versions too.
const NAMES: [&str; 9] =
    ["lock", "address", "cache", "mail", "postgres", "run", SOCKETS, DEMO, SECRET_KEY];

/// The socket of the `taskd up` that has this directory, if one ever had it; that one may have
/// ended.
pub fn operator_socket(path: &Path) -> Option<PathBuf> {
    let sockets = std::fs::read_to_string(path.join(SOCKETS)).ok()?;
    Some(PathBuf::from(sockets).join(OPERATOR))
}

/// The key of the secrets that are kept in this directory's database: 256 random bits, made when it
/// is first asked for, and for this user alone.
///
/// # Errors
/// It can't be read or written.
pub fn secret_key(path: &Path) -> std::io::Result<Secret> {
    let file = path.join(SECRET_KEY);
    match std::fs::read_to_string(&file) {
        Ok(key) => return Ok(Secret::new(key.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let random: [u8; 32] = rand::random();
    let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole, or not at all: half a key would be taken for one.
    let unfinished = path.join(format!("{SECRET_KEY}.{}", std::process::id()));
    let mut new = private::open(&unfinished, private::options().truncate(true))?;
    new.write_all(key.as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&unfinished, &file)?;
    Ok(Secret::new(key))
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // The next process removes what a killed one leaves behind.
        let _ = std::fs::remove_file(self.path.join(SOCKETS));
        let _ = std::fs::remove_dir_all(&self.sockets);
    }
}

/// Locks a directory, since two processes on it would destroy it. The file says which one has it.
fn lock(directory: &Path) -> Result<File, DataDirError> {
    let unusable = |error: std::io::Error| DataDirError::Unusable {
        path: directory.to_owned(),
        problem: error.to_string(),
    };
    let mut file =
        private::open(&directory.join("lock"), private::options().read(true)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            file.read_to_string(&mut process).map_err(unusable)?;
            let process = process.trim().to_owned();
            return Err(DataDirError::InUse { path: directory.to_owned(), process });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(unusable)?;
    Ok(file)
}

/// Creates the directory of the sockets: in the data directory, or elsewhere if its path would be
/// too long.
fn sockets(directory: &Path) -> std::io::Result<PathBuf> {
    let named = directory.join(SOCKETS);
    match std::fs::read_to_string(&named) {
        // Left by a process that was killed.
        Ok(left) => {
            let left = PathBuf::from(left);
            let ours =
                left.symlink_metadata().is_ok_and(|it| it.is_dir() && it.mode() & 0o777 == 0o700);
            if ours && private::is_ours(&left)? {
                let _ = std::fs::remove_dir_all(&left);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let fits = |path: &Path| path.as_os_str().len() + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES;
    let mut candidates = vec![directory.join("run")];
    let name = format!("taskd-{}", uuid::Uuid::new_v4().simple());
    let elsewhere = [
        std::env::var_os("XDG_RUNTIME_DIR"),
        Some(std::env::temp_dir().into()),
        Some("/tmp".into()),
    ];
    candidates
        .extend(elsewhere.into_iter().flatten().map(|place| PathBuf::from(place).join(&name)));
    let mut failed = std::io::Error::other(
        "its path is too long for a socket, and there is no other place for one",
    );
    for (index, path) in
        candidates.iter().enumerate().filter(|(_, path)| path.is_absolute() && fits(path))
    {
        let made = match index {
            // A process that was killed may have left sockets in it, on which nobody listens.
            0 => {
                let _ = std::fs::remove_dir_all(path);
                private::directory(path, |_| true)
            }
            // One that exists already would be somebody else's.
            _ => std::fs::DirBuilder::new().mode(0o700).create(path),
        };
        match made {
            Ok(()) => {
                let mut file = private::open(&named, private::options().truncate(true))?;
                file.write_all(path.as_os_str().as_encoded_bytes())?;
                return Ok(path.clone());
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_in_it_is_for_this_user_alone_and_a_long_path_has_its_sockets_elsewhere() {
        let short = std::env::temp_dir().join(format!("d{}", uuid::Uuid::new_v4().simple()));
        let long = short.join("x".repeat(90)).join("y".repeat(200));
        for path in [&short, &long] {
            for left_by_a_killed_process in [false, true] {
                let taken = DataDir::take(path).unwrap();
                assert_eq!((mode(path), mode(&path.join("lock"))), (0o700, 0o600));
                assert_eq!(mode(taken.sockets()), 0o700);
                std::os::unix::net::UnixListener::bind(taken.sockets().join(".s.PGSQL.5432"))
                    .unwrap();
                assert_eq!(operator_socket(path), Some(taken.operator_socket()));
                assert!(matches!(DataDir::take(path), Err(DataDirError::InUse { .. })));
                let sockets = taken.sockets().to_owned();
                if left_by_a_killed_process {
                    let DataDir { .. } = &taken;
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
                    std::fs::set_permissions(
                        path.join("lock"),
                        std::fs::Permissions::from_mode(0o644),
                    )
                    .unwrap();
                    let named = std::fs::read(path.join(SOCKETS)).unwrap();
                    drop(taken);
                    std::fs::write(path.join(SOCKETS), named).unwrap();
                    std::fs::DirBuilder::new().mode(0o700).create(&sockets).unwrap();
                    let next = DataDir::take(path).unwrap();
                    assert_eq!((mode(path), mode(&path.join("lock"))), (0o700, 0o600));
                    assert!(sockets == path.join("run") || !sockets.exists());
                    drop(next);
                } else {
                    drop(taken);
                    assert!(!sockets.exists());
                }
            }
        }
        std::fs::remove_dir_all(short).unwrap();
    }
}
