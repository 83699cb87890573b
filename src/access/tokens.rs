//! Bearer tokens (RFC 6750): 256 random bits, of which the database stores only the SHA-256.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use sha2::{Digest, Sha256};

use crate::ground::secret::Secret;
use crate::store::accounts::credentials;
use crate::store::accounts::tokens::{self, Holder, NewToken};
use crate::store::{Connection, Store, StoreError, unless_in_conflict};

/// How long the holder of a token is cached. A revocation by another process takes effect after
/// this time at the latest; 5 s are promised.
const KNOWN_FOR: Duration = Duration::from_secs(3);
const _: () = assert!(KNOWN_FOR.as_secs() < 5);
/// How many tokens are cached, at 100 bytes each. Invalid tokens have a cache of their own, so that
/// made-up tokens evict no valid ones.
const KNOWN: u64 = 50_000;
/// The prefix of each token, by which it is recognised where it should not be, such as in a
/// repository.
const PREFIX: &str = "taskd_";
/// The length of the rest: 32 bytes in base64 without padding.
const RANDOM_CHARS: usize = 43;

/// Issues a token, without asking for rights. The token is shown once and stored nowhere. Returns
/// its id, and the token itself.
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

/// Issues a session's token. The user's password was verified against the hash `verified`.
///
/// # Errors
/// [`credentials::Refusal`] if the user's hash is another by now.
pub async fn issue_session(
    connection: &mut Connection,
    session: NewToken,
    verified: &str,
) -> Result<Secret, StoreError> {
    let secret = random();
    credentials::open_session(connection, session, hash(secret.expose()), verified).await?;
    Ok(secret)
}

/// Issues an API token that the holder `by` of another token asks for.
///
/// # Errors
/// [`credentials::Refusal`] if `by` is no longer valid, or the user has the maximum number of
/// tokens.
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

/// The hash by which a token is stored. A fast hash will do, since 256 random bits can't be
/// guessed. The time of a lookup by hash doesn't depend on how many characters of the token are
/// right.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether a token has our format. One that hasn't is invalid, and the database isn't asked.
fn is_formed(token: &str) -> bool {
    let random = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let text = token.strip_prefix(PREFIX);
    text.is_some_and(|text| text.len() == RANDOM_CHARS && text.bytes().all(random))
}

/// Finds the holders of tokens, and caches them for a few seconds.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
    known: moka::future::Cache<[u8; 32], Verified>,
    unknown: moka::future::Cache<[u8; 32], ()>,
    /// When this process last changed a user's tokens, role or existence. Holders that were read
    /// before are outdated.
    changed: moka::sync::Cache<i64, Instant>,
}

/// A cached holder.
#[derive(Clone)]
struct Verified {
    holder: Holder,
    /// A moment before the database was asked.
    asked: Instant,
}

/// Why there is no holder.
#[derive(Debug, Clone)]
enum NoHolder {
    Nobody,
    Error(StoreError),
}

impl Tokens {
    /// An empty cache in front of this database.
    pub fn new(store: Store) -> Tokens {
        let known = moka::future::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR);
        let unknown = moka::future::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR);
        let changed = moka::sync::Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR * 2);
        Tokens { store, known: known.build(), unknown: unknown.build(), changed: changed.build() }
    }

    /// The same cache, with other connections to the database.
    pub fn by(&self, store: Store) -> Tokens {
        Tokens { store, ..self.clone() }
    }

    /// The holder of this token; `None` if it is invalid or expired.
    ///
    /// # Errors
    /// The database had to be asked, and failed.
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
                    Err(NoHolder::Nobody) => {
                        self.unknown.insert(hash, ()).await;
                        return Ok(None);
                    }
                    Err(NoHolder::Error(error)) => return Err(error),
                },
            };
            if self.is_current(&known) {
                let in_time = |holder: &Holder| holder.expires_at.is_none_or(|at| Utc::now() < at);
                return Ok(Some(known.holder).filter(in_time));
            }
            self.known.invalidate(&hash).await;
        }
    }

    /// Asks the database. Concurrent callers with the same token share one query.
    async fn ask(&self, hash: [u8; 32]) -> Result<Verified, NoHolder> {
        let asking = self.known.try_get_with(hash, async {
            let asked = Instant::now();
            // A conflict can be about the note that the token is in use.
            let found = unless_in_conflict!(
                async { tokens::holder(&mut *self.store.connection().await?, hash).await }.await
            );
            match found {
                Ok(Some(holder)) => Ok(Verified { holder, asked }),
                Ok(None) => Err(NoHolder::Nobody),
                Err(error) => Err(NoHolder::Error(error)),
            }
        });
        asking.await.map_err(|absent: Arc<NoHolder>| (*absent).clone())
    }

    fn is_current(&self, known: &Verified) -> bool {
        self.changed.get(&known.holder.user_id).is_none_or(|changed| changed < known.asked)
    }

    /// Call this after every change of a user's tokens, role or existence. It takes effect in this
    /// process at once, and leaves other users cached.
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
