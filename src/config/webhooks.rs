//! Where webhooks may be sent, and the key of their secrets.

use std::path::Path;

use clap::Args;

use super::ConfigError;
use crate::ground::data_dir;
use crate::ground::networks::Networks;
use crate::ground::secret::Secret;
use crate::ground::tls::Tls;
use crate::webhooks::address::Reach;
use crate::webhooks::client::WebhookClient;
use crate::webhooks::keyring::Keyring;
use crate::webhooks::orders::Webhooks;

/// Webhooks' settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookArgs {
    /// The key under which secrets of webhooks are kept: 32 characters or more that nobody can
    /// guess; several, separated by commas, while it is rotated, the present one first [default of
    /// `up`: one that it makes in its data directory]
    #[arg(long, env = "SECRET_KEY", value_name = "SECRET_KEY", hide_env_values = true)]
    secret_key: Option<Secret>,
    /// Networks that webhooks may be sent to although they are not the public internet, by http
    /// too, such as 127.0.0.1,10.0.0.0/8
    #[arg(long, env = "WEBHOOK_ALLOW", value_name = "WEBHOOK_ALLOW", default_value = "")]
    webhook_allow: Networks,
}

/// What a worker sends webhooks with.
#[derive(Clone)]
pub struct WebhookSender {
    /// Reaches only where webhooks may go.
    pub client: WebhookClient,
    /// Opens their secrets; without it nothing is sent.
    pub keyring: Option<Keyring>,
}

impl WebhookArgs {
    /// The keys; if none is given, that of a data directory, which is made if there is none.
    fn keyring(&self, data_dir: Option<&Path>) -> Result<Option<Keyring>, ConfigError> {
        let wrong = |problem: String| ConfigError::new("SECRET_KEY", problem);
        let key = match (&self.secret_key, data_dir) {
            (Some(key), _) => key.clone(),
            (None, Some(data_dir)) => data_dir::secret_key(data_dir).map_err(|error| {
                wrong(format!("is not set, and {} can't keep one: {error}", data_dir.display()))
            })?,
            (None, None) => return Ok(None),
        };
        key.expose().parse().map(Some).map_err(wrong)
    }

    /// Checks a key that is given, before anything starts.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.keyring(None).map(drop)
    }

    /// For who asks something of webhooks.
    pub fn webhooks(&self, tls: &Tls, data_dir: Option<&Path>) -> anyhow::Result<Webhooks> {
        let reach = Reach::with(self.webhook_allow.clone());
        let webhooks = Webhooks::new(self.keyring(data_dir)?, reach, tls);
        webhooks.map_err(anyhow::Error::msg)
    }

    /// Both, for a process that serves and sends.
    pub fn both(
        &self,
        tls: &Tls,
        data_dir: Option<&Path>,
    ) -> anyhow::Result<(Webhooks, WebhookSender)> {
        Ok((self.webhooks(tls, data_dir)?, self.sender(tls, data_dir)?))
    }

    /// For who sends.
    pub fn sender(&self, tls: &Tls, data_dir: Option<&Path>) -> anyhow::Result<WebhookSender> {
        let reach = Reach::with(self.webhook_allow.clone());
        let client = WebhookClient::new(reach, tls).map_err(anyhow::Error::msg)?;
        Ok(WebhookSender { client, keyring: self.keyring(data_dir)? })
    }
}
