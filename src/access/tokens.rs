//! Bearer tokens (RFC 6750): 256 random bits, of which the database has the SHA-256 alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use sha2::{Digest, Sha256};

use crate::ground::secret::Secret;
use crate::store::accounts::credentials;
use crate::store::accounts::tokens::{self, Holder, NewToken};
use crate::store::{Connection, Store, StoreError};

/// For how long what a token stands for is known without asking the database again. A revocation
/// elsewhere is in effect after it, which is promised within 5 s.
const KNOWN_FOR: Duration = Duration::from_secs(3);
/// How many tokens are known at a time; 100 bytes each. Those that are nobody's are known apart:
/// whoever makes tokens up pushes out none that is somebody's.
const KNOWN: u64 = 50_000;
/// What a token begins with, so that it is recognised where it should not be.
const PREFIX: &str = "taskd_";
/// How long the rest is: 32 bytes in base64 without padding.
const RANDOM_CHARS: usize = 43;

/// Makes a token for its user, whoever asks. It is shown once and kept nowhere; returned with the
/// id of what is kept.
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

/// The same for a session of a user whose password was verified by this hash.
///
/// # Errors
/// [`credentials::Refusal`] if the user has another by now.
pub async fn issue_session(
    connection: &mut Connection,
    session: NewToken,
    verified: &str,
) -> Result<Secret, StoreError> {
    let secret = random();
    credentials::open_session(connection, session, hash(secret.expose()), verified).await?;
    Ok(secret)
}

/// The same for an API token that another token asks for.
///
/// # Errors
/// [`credentials::Refusal`] if that one has ended, or the user has enough.
pub async fn issue_token(
    connection: &mut Connection,
    token: NewToken,
    by: Holder,
) -> Result<(i64, Secret), StoreError> {
    let secret = random();
    let id = credentials::add_token(connection, token, hash(secret.expose()), by).await?;
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
    known: moka::future::Cache<[u8; 32], Known>,
    unknown: moka::future::Cache<[u8; 32], ()>,
    /// When tokens, roles or users were changed here last: what was read before counts no longer.
    changed: moka::sync::Cache<i64, Instant>,
}

/// A holder, and since when.
#[derive(Clone)]
struct Known {
    holder: Holder,
    /// Before the database was asked.
    asked: Instant,
}

/// Why there is no holder.
#[derive(Debug, Clone)]
enum Absent {
    Nobody,
    Error(StoreError),
}

impl Tokens {
    /// Nothing is known yet.
    pub fn new(store: Store) -> Tokens {
        let known = moka::future::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR);
        let unknown = moka::future::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR);
        let changed = moka::sync::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR * 2);
        Tokens { store, known: known.build(), unknown: unknown.build(), changed: changed.build() }
    }

    /// The same by other connections to the database: what is known is known to both.
    pub fn by(&self, store: Store) -> Tokens {
        Tokens { store, ..self.clone() }
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
        loop {
            let known = match self.known.get(&hash).await {
                Some(known) => known,
                None if self.unknown.contains_key(&hash) => return Ok(None),
                None => match self.ask(hash).await {
                    Ok(known) => known,
                    Err(Absent::Nobody) => {
                        self.unknown.insert(hash, ()).await;
                        return Ok(None);
                    }
                    Err(Absent::Error(error)) => return Err(error),
                },
            };
            if self.is_current(&known) {
                let in_time = |holder: &Holder| holder.expires_at.is_none_or(|at| Utc::now() < at);
                return Ok(Some(known.holder).filter(in_time));
            }
            self.known.invalidate(&hash).await;
        }
    }

    /// Those who ask for the same token at once ask the database once.
    async fn ask(&self, hash: [u8; 32]) -> Result<Known, Absent> {
        let asking = self.known.try_get_with(hash, async {
            let asked = Instant::now();
            let found = async { tokens::holder(&mut *self.store.connection().await?, hash).await };
            match found.await {
                Ok(Some(holder)) => Ok(Known { holder, asked }),
                Ok(None) => Err(Absent::Nobody),
                Err(error) => Err(Absent::Error(error)),
            }
        });
        asking.await.map_err(|absent: Arc<Absent>| (*absent).clone())
    }

    fn is_current(&self, known: &Known) -> bool {
        self.changed.get(&known.holder.user_id).is_none_or(|changed| changed < known.asked)
    }

    /// To be called after every change of a user's tokens, role or existence: this process knows at
    /// once, and goes on knowing everybody else's.
    pub fn changed(&self, user_id: i64) {
        self.changed.insert(user_id, Instant::now());
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
