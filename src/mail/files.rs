//! Mail as files, for those who have no mail server at hand.

use std::path::PathBuf;

use async_trait::async_trait;
use lettre::message::Mailbox;

use super::{Mail, MailError, Mailer, message};

/// Writes each mail to `MESSAGE-ID.eml` in one directory: sent twice, it is still one file.
pub struct FileMailer {
    directory: PathBuf,
    from: Mailbox,
}

impl FileMailer {
    /// Makes the directory.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(directory: PathBuf, from: Mailbox) -> std::io::Result<FileMailer> {
        std::fs::create_dir_all(&directory)?;
        Ok(FileMailer { directory, from })
    }
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let bytes = message(&self.from, mail)?.formatted();
        let path = self.directory.join(format!("{}.eml", mail.message_id));
        let half = self.directory.join(format!(".{}.tmp", mail.message_id));
        let written = async {
            tokio::fs::write(&half, bytes).await?;
            tokio::fs::rename(&half, &path).await
        };
        written.await.map_err(|e| MailError::Transient(format!("{}: {e}", path.display())))
    }
}
