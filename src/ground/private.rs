//! Files and directories that only this user can access.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::OnceLock;

/// The id of the user that this process runs as. It comes from what the kernel says of the peer of
/// a connection to itself, since the call that asks for it directly is `unsafe`.
///
/// # Errors
/// No socket can be created.
pub fn user() -> io::Result<u32> {
    static USER: OnceLock<u32> = OnceLock::new();
    if let Some(user) = USER.get() {
        return Ok(*user);
    }
    // In a thread of its own, since the caller may be in a runtime.
    let asking = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _within = runtime.enter();
        let (one, _other) = tokio::net::UnixStream::pair()?;
        io::Result::Ok(one.peer_cred()?.uid())
    });
    let user = asking.join().map_err(|_| io::Error::other("no user"))??;
    Ok(*USER.get_or_init(|| user))
}

/// Whether this user owns a file or a directory.
///
/// # Errors
/// Its metadata can't be read.
pub fn is_ours(path: &Path) -> io::Result<bool> {
    Ok(path.metadata()?.uid() == user()?)
}

/// Creates a directory, and those above it, that only this user can enter, whatever the umask. If
/// it exists, others lose their access only if it has nothing in it but what taskd has put there,
/// by these names: any other directory, such as one of the system that was named by mistake, stays
/// as it is.
///
/// # Errors
/// It can't be created, or belongs to somebody else.
pub fn directory(path: &Path, is_of_taskd: impl Fn(&str) -> bool) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = path.metadata()?;
    if !is_ours(path)? {
        // Root may use anybody's directory, and leaves it as it is.
        return match user()? {
            0 => Ok(()),
            _ => Err(io::Error::other(format!(
                "it belongs to the user with the number {}",
                metadata.uid()
            ))),
        };
    }
    if metadata.mode() & 0o777 == 0o700 {
        return Ok(());
    }
    for entry in path.read_dir()? {
        if !entry?.file_name().to_str().is_some_and(&is_of_taskd) {
            return Ok(());
        }
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// The options to open a file that only this user can read, whatever the umask.
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).mode(0o600);
    options
}

/// Opens a file like that. If it exists, others lose their access.
///
/// # Errors
/// It can't be opened.
pub fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(path)?;
    if file.metadata()?.mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_the_things_of_others_stays_as_it_is() {
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        let root = std::env::temp_dir().join(format!("p{}", uuid::Uuid::new_v4().simple()));
        let is_mail = |name: &str| name.ends_with(".eml");
        for (name, entries, after) in [
            ("empty", &[] as &[&str], 0o700),
            ("of taskd", &["a.eml"], 0o700),
            ("of the system", &["a.eml", "passwd"], 0o755),
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            entries.iter().for_each(|entry| std::fs::write(path.join(entry), "").unwrap());
            directory(&path, is_mail).unwrap();
            assert_eq!(mode(&path), after, "{name}");
        }
        // A new directory is for this user alone, and so are those above it.
        directory(&root.join("new/newer"), is_mail).unwrap();
        assert_eq!((mode(&root.join("new")), mode(&root.join("new/newer"))), (0o700, 0o700));
        std::fs::remove_dir_all(root).unwrap();
    }
}
