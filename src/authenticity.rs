//! Which messages are believed: those that this installation has signed.
//!
//! The outbox could not be asked instead, since its rows are forgotten while messages and dead letters of
//! theirs are still there. For a while after an upgrade from a version that did not sign, all messages are
//! believed: what is in the queues has no signature, and processes of that version change what they pass on.

use chrono::Utc;

use crate::broker::{Message, Signer};
use crate::store::installation::Installation;
use crate::store::{Store, StoreError};

/// Asks who is believed.
#[derive(Clone)]
pub struct Authenticity(Installation);

/// Who is believed at this moment.
pub struct Authority {
    signer: Signer,
    unsigned_too: bool,
}

impl Authenticity {
    /// By the key that this database has.
    pub fn new(store: Store) -> Authenticity {
        Authenticity(Installation::new(store))
    }

    /// Who is believed at this moment. Hold no connection.
    ///
    /// # Errors
    /// The database fails, and was never asked before.
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
