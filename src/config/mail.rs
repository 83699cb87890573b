//! The mail's settings.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::{ConfigError, present};
use crate::secret::{Secret, without_password};

/// Below the usual data directory.
pub const DEFAULT_MAIL_DIR: &str = ".taskd/mail";

/// Where e-mail goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Mail")]
pub struct MailArgs {
    /// The SMTP server, as smtp://user:password@host:25; without it mail is written to MAIL_DIR
    #[arg(long, env = "SMTP_URL", value_name = "SMTP_URL", hide_env_values = true)]
    smtp_url: Option<Secret>,
    /// Where mail is written as .eml files when there is no SMTP_URL
    #[arg(long, env = "MAIL_DIR", value_name = "MAIL_DIR", default_value = DEFAULT_MAIL_DIR)]
    pub mail_dir: PathBuf,
    /// The sender
    #[arg(
        long,
        env = "MAIL_FROM",
        value_name = "MAIL_FROM",
        default_value = "taskd <taskd@localhost>"
    )]
    pub mail_from: lettre::message::Mailbox,
}

impl MailArgs {
    /// Where mail goes, for logs.
    pub fn describe(&self) -> Result<String, ConfigError> {
        Ok(self.url()?.map_or_else(
            || self.mail_dir.display().to_string(),
            |url| without_password(url.as_str()),
        ))
    }

    /// The URL, checked; absent means files.
    pub fn url(&self) -> Result<Option<Url>, ConfigError> {
        const VARIABLE: &str = "SMTP_URL";
        let Some(text) = present(VARIABLE, self.smtp_url.as_ref())? else { return Ok(None) };
        let url = Url::parse(text.expose())
            .map_err(|e| ConfigError::new(VARIABLE, format!("not a URL: {e}")))?;
        match url.scheme() {
            "smtp" if url.host_str().is_none_or(str::is_empty) => {
                Err(ConfigError::new(VARIABLE, "names no host"))
            }
            "smtp" => Ok(Some(url)),
            "smtps" => {
                Err(ConfigError::new(VARIABLE, "smtps:// (TLS) is not supported yet; use smtp://"))
            }
            other => {
                Err(ConfigError::new(VARIABLE, format!("the scheme must be smtp, not {other:?}")))
            }
        }
    }
}
