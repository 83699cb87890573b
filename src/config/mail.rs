//! The mail's settings.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigError, duration, path, values};
use crate::domain::rate::Limit;
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;
use crate::mail::{EhloName, SmtpManners, SmtpUrl};

/// Mail goes below the default data directory.
pub const DEFAULT_MAIL_DIR: &str = ".taskd/mail";

/// Where e-mail goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Mail")]
pub struct MailArgs {
    /// The SMTP server, as smtp://user:password@host:25, with ?tls=required for STARTTLS, or
    /// smtps:// for TLS; without it mail is written to MAIL_DIR
    #[arg(long, env = "SMTP_URL", value_name = "SMTP_URL", hide_env_values = true)]
    smtp_url: Option<Secret>,
    /// How long the SMTP server may take from the connection to being ready for mail
    #[arg(long, env = "SMTP_TIMEOUT", value_name = "SMTP_TIMEOUT", default_value = "5m", value_parser = duration)]
    smtp_timeout: Duration,
    /// What the SMTP server is told that this machine is called: a full name, or an address in
    /// brackets [default: the machine's full name, or the address from which it reaches the server]
    #[arg(long, env = "SMTP_HELO_NAME", value_name = "SMTP_HELO_NAME")]
    smtp_helo_name: Option<EhloName>,
    /// Where mail is written as .eml files when there is no SMTP_URL
    #[arg(long, env = "MAIL_DIR", value_name = "MAIL_DIR", default_value = DEFAULT_MAIL_DIR, value_parser = path)]
    pub mail_dir: PathBuf,
    /// The sender
    #[arg(
        long,
        env = "MAIL_FROM",
        value_name = "MAIL_FROM",
        default_value = "taskd <taskd@localhost>",
        value_parser = values::mailbox
    )]
    pub mail_from: lettre::message::Mailbox,
    /// How many mails each user gets, such as 60/1h, or off; what is over it is mailed later
    #[arg(long, env = "MAIL_LIMIT", value_name = "MAIL_LIMIT", default_value = "60/1h")]
    pub mail_limit: Limit,
}

impl MailArgs {
    /// How the SMTP client behaves towards the server.
    pub fn manners(&self) -> SmtpManners {
        SmtpManners { patience: self.smtp_timeout, hello: self.smtp_helo_name.clone() }
    }

    /// Where mail goes, for logs and the start-up panel.
    pub fn describe(&self, tls: &Tls) -> Result<String, ConfigError> {
        Ok(self
            .url(tls)?
            .map_or_else(|| self.mail_dir.display().to_string(), |url| url.to_string()))
    }

    /// The checked URL; `None` means that mail is written to files.
    pub fn url(&self, tls: &Tls) -> Result<Option<SmtpUrl>, ConfigError> {
        super::url("SMTP_URL", self.smtp_url.as_ref(), |text| SmtpUrl::parse(text, tls))
    }
}
