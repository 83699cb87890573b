//! Writes mails to files, for users who have no mail server at hand.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use async_trait::async_trait;
use lettre::message::Mailbox;
use tokio::io::AsyncWriteExt;

use super::{Mail, Mailer, message, spans};
use crate::domain::processing::failure::Failure;
use crate::ground::private;

/// Writes each mail to `MESSAGE-ID.eml` in one directory: a mail that is sent twice is still one
/// file.
pub struct FileMailer {
    directory: PathBuf,
    from: Mailbox,
}

impl FileMailer {
    /// Creates the directory. Mail is private: only this user can read it.
    ///
    /// # Errors
    /// The directory can't be created or written to.
    pub fn new(directory: PathBuf, from: Mailbox) -> std::io::Result<FileMailer> {
        private::directory(&directory, |name| name.ends_with(".eml") || name.ends_with(".tmp"))?;
        // Find out now whether it can be written to, not with the first mail.
        let probe = directory.join(format!(".{}.tmp", std::process::id()));
        private::open(&probe, &private::options())?;
        std::fs::remove_file(probe)?;
        Ok(FileMailer { directory, from })
    }
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, mail: &Mail) -> Result<(), Failure> {
        let bytes = message(&self.from, mail)?.formatted();
        let path = self.directory.join(format!("{}.eml", mail.message_id));
        let half = self.directory.join(format!(".{}.tmp", mail.message_id));
        let written = async {
            let options = private::options();
            let mut file = tokio::fs::OpenOptions::from(options).truncate(true).open(&half).await?;
            file.set_permissions(Permissions::from_mode(0o600)).await?;
            file.write_all(&bytes).await?;
            file.flush().await?;
            tokio::fs::rename(&half, &path).await
        };
        let written = async {
            written.await.map_err(|e| Failure::transient(format!("{}: {e}", path.display())))
        };
        spans::writing(mail, written).await
    }
}
