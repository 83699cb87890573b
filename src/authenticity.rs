//! Decides which messages are believed: those that this installation has signed.
//!
//! The outbox can't tell instead, since its rows are deleted while their messages and dead letters
//! still exist. For a while after an upgrade from a version that did not sign, all messages are
//! believed: those in the queues have no signature, and processes of that version change what they
//! pass on.

use chrono::Utc;

use crate::broker::{Message, Signer};
use crate::store::installation::Installation;
use crate::store::{Store, StoreError};

/// Reads the key that decides which messages are believed.
#[derive(Clone)]
pub struct Authenticity(Installation);

/// Says which messages are believed at this moment, and signs.
pub struct Authority {
    signer: Signer,
    unsigned_too: bool,
}

impl Authenticity {
    /// Uses the key in this database.
    pub fn new(store: Store) -> Authenticity {
        Authenticity(Installation::new(store))
    }

    /// The authority of this moment. Hold no connection meanwhile.
    ///
    /// # Errors
    /// The database fails; if it is only away, what was read before counts.
    pub async fn authority(&self) -> Result<Authority, StoreError> {
        let facts = self.0.facts().await?;
        let unsigned_too = facts.unsigned_until.is_some_and(|until| Utc::now() < until);
        Ok(Authority { signer: Signer::new(&facts.message_key), unsigned_too })
    }
}

impl Authority {
    /// Whether a message is believed.
    pub fn accepts(&self, message: &Message) -> bool {
        self.unsigned_too || self.signer.has_signed(message)
    }

    /// Signs a new message, or the copy of one that was accepted.
    pub fn sign(&self, copy: &mut Message) {
        self.signer.sign(copy);
    }
}
