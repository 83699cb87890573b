//! Bearer tokens (RFC 6750): 256 random bits, of which the database has the SHA-256 alone.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use sha2::{Digest, Sha256};

use crate::secret::Secret;
use crate::store::tokens::{self, Holder, NewToken};
use crate::store::{Connection, Store, StoreError};

/// For how long what a token stands for is known without asking the database again. A revocation
/// elsewhere is in effect after it, which is promised within 5 s.
const KNOWN_FOR: Duration = Duration::from_secs(3);
/// How many tokens are known at a time, valid or made up; 100 bytes each.
const KNOWN: u64 = 50_000;
/// What a token begins with, so that it is recognised where it should not be.
const PREFIX: &str = "taskd_";
/// How long the rest is: 32 bytes in base64 without padding.
const RANDOM_CHARS: usize = 43;

/// Makes a token for its user. It is shown once and kept nowhere; returned with the id of what is kept.
///
/// # Errors
/// [`StoreError::Missing`] if there is no such user.
pub async fn issue(
    connection: &mut Connection,
    token: NewToken,
) -> Result<(i64, Secret), StoreError> {
    let secret = random();
    let id = tokens::insert(connection, token, hash(secret.expose())).await?;
    Ok((id, secret))
}

fn random() -> Secret {
    let random: [u8; 32] = rand::random();
    Secret::new(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
}

/// What is kept of a token. A fast hash will do: there is nothing to guess in 256 random bits. It
/// also makes looking a token up independent of how much of it is right.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether a token has the form of ours: what hasn't is nobody's, without a look into the database.
fn is_formed(token: &str) -> bool {
    let random = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let text = token.strip_prefix(PREFIX);
    text.is_some_and(|text| text.len() == RANDOM_CHARS && text.bytes().all(random))
}

/// Who holds which token, as far as known for a few seconds.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
    known: moka::future::Cache<[u8; 32], Option<Holder>>,
}

impl Tokens {
    /// Nothing is known yet.
    pub fn new(store: Store) -> Tokens {
        let known = moka::future::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR);
        Tokens { store, known: known.build() }
    }

    /// The same by other connections to the database: what is known is known to both.
    pub fn by(&self, store: Store) -> Tokens {
        Tokens { store, known: self.known.clone() }
    }

    /// Who holds this token; `None` if nobody does, or its time is up.
    ///
    /// # Errors
    /// The database had to be asked and fails.
    pub async fn holder(&self, token: &str) -> Result<Option<Holder>, StoreError> {
        if !is_formed(token) {
            return Ok(None);
        }
        let hash = hash(token);
        let asking = self.known.try_get_with(hash, async {
            tokens::holder(&mut *self.store.connection().await?, hash).await
        });
        let holder = asking.await.map_err(|error: std::sync::Arc<StoreError>| (*error).clone())?;
        Ok(holder.filter(|holder| holder.expires_at.is_none_or(|at| Utc::now() < at)))
    }

    /// To be called after every change of tokens, roles or users: this process knows at once.
    pub fn changed(&self) {
        self.known.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_alike_and_none_is_printed() {
        let (one, two) = (random(), random());
        assert_ne!(one.expose(), two.expose());
        assert_ne!(hash(one.expose()), hash(two.expose()));
        assert_eq!(format!("{one:?}"), "***");
    }

    #[test]
    fn a_token_of_ours_is_known_by_its_form() {
        let token = random();
        assert!(is_formed(token.expose()));
        let other = token.expose().replace(PREFIX, "token_");
        for wrong in ["", PREFIX, &token.expose()[1..], &format!("{}x", token.expose()), &other] {
            assert!(!is_formed(wrong), "{wrong}");
        }
        assert!(!is_formed(&format!("{PREFIX}{}é", "x".repeat(RANDOM_CHARS - 2))));
    }
}
