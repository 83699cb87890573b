//! What people ask of webhooks: by requests, by commands and on pages.

mod change;
mod deliveries;
mod endpoints;
mod order;
mod views;

use crate::ground::tls::Tls;
use crate::store::StoreError;
use crate::webhooks::address::Reach;
use crate::webhooks::client::WebhookClient;
use crate::webhooks::keyring::Keyring;

pub use change::{Change, MEMBERS, Wrong, event_types, types};
pub use deliveries::Replayed;
pub use endpoints::within;
pub use order::{WebhookOrder, WebhookReport};
pub use views::{AttemptView, DeliveryView, PingView, WebhookView};

/// Webhooks, for who asks something of them. Clones share one client.
#[derive(Clone)]
pub struct Webhooks {
    keyring: Option<Keyring>,
    reach: Reach,
    client: WebhookClient,
}

impl Webhooks {
    /// With these keys, if there are any, and this reach.
    ///
    /// # Errors
    /// The system gives the client no resources.
    pub fn new(keyring: Option<Keyring>, reach: Reach, tls: &Tls) -> Result<Webhooks, String> {
        let client = WebhookClient::new(reach.clone(), tls)?;
        Ok(Webhooks { keyring, reach, client })
    }

    /// What an answer that shows a secret is sealed with while it is kept.
    ///
    /// # Errors
    /// There is no key.
    pub fn answer_key(&self) -> Result<Vec<u8>, WebhookError> {
        self.keyring().map(|keyring| keyring.of_answers().to_vec())
    }

    fn keyring(&self) -> Result<&Keyring, WebhookError> {
        self.keyring.as_ref().ok_or(WebhookError::NoSecretKey(
            "SECRET_KEY is not set, and the secrets of webhooks are kept sealed under it: set it to what \
             openssl rand -hex 32 prints, for serve and work alike",
        ))
    }
}

/// Which webhooks somebody may see and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of this user.
    Of(i64),
    /// All.
    All,
}

impl Whose {
    /// Those of a user, or all if there is none.
    pub fn confined_to(user: Option<i64>) -> Whose {
        user.map_or(Whose::All, Whose::Of)
    }

    fn user(self) -> Option<i64> {
        match self {
            Whose::Of(user) => Some(user),
            Whose::All => None,
        }
    }
}

/// Why an order was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// This member of the order is wrong.
    #[error("{0} {1}")]
    Invalid(&'static str, String),
    /// There is no such thing, or not for who asks.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// There are as many webhooks as there may be.
    #[error("there are as many webhooks as there may be")]
    TooMany,
    /// The webhook is disabled, so nothing would be sent.
    #[error("the webhook is disabled: enable it first")]
    Disabled,
    /// No secret can be sealed or opened; the text says what to do.
    #[error("{0}")]
    NoSecretKey(&'static str),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}
