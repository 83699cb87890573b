//! Password hashing with argon2id (RFC 9106), outside the async threads, a few hashes at a time.
//!
//! Requests for a hash wait in one bounded queue, in which a user has one place and an address a
//! few. So nobody can fill the queue alone, and each request in it is answered before its deadline.
//! A handler hashes before it starts anything that goes on without its client, so a client that
//! hangs up leaves the queue.

use std::net::IpAddr;
use std::sync::Arc;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::ground::keyed_semaphore::KeyedSemaphore;

/// The hash to verify against where a user or a password is missing, so that a wrong e-mail address
/// takes as long as a wrong password. It has the parameters of [`Argon2::default`], and no password
/// is known for it.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dGFza2QgZGVjb3kgc2FsdA$\
     AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many hashes wait or run at a time. At 20 ms each, the last one waits for up to three
/// seconds.
const QUEUE: usize = 128;
/// How many of these one address may have, since users behind one address may sign in at the same
/// time.
const OF_AN_ADDRESS: usize = 8;

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// An error on our side.
    #[error("a password could not be hashed")]
    Failed,
    /// The queue is full.
    #[error("too many passwords wait to be hashed")]
    Busy,
}

/// Who asks for a hash: the unit in which the queue is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashRequester {
    /// A user, who has one hash at a time.
    User(i64),
    /// A client at this address; `None` if the address is unknown.
    Address(Option<IpAddr>),
}

/// Hashes and verifies passwords. Each call takes about 20 ms of one core, and 19 MiB.
pub struct Passwords {
    running: Arc<Semaphore>,
    places: Semaphore,
    users: KeyedSemaphore<i64>,
    addresses: KeyedSemaphore<Option<IpAddr>>,
}

impl Default for Passwords {
    /// Uses half of the cores at a time: a burst of sign-ins leaves the other half to other
    /// requests.
    fn default() -> Passwords {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            running: Arc::new(Semaphore::new((cores / 2).max(1))),
            places: Semaphore::new(QUEUE),
            users: KeyedSemaphore::new(1),
            addresses: KeyedSemaphore::new(OF_AN_ADDRESS),
        }
    }
}

impl Passwords {
    /// Hashes a password, to the PHC string form. The parameters are those of RFC 9106's second
    /// choice, as the crate has them.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(
        &self,
        asker: HashRequester,
        password: String,
    ) -> Result<String, PasswordError> {
        let hashed = self.queued(asker, move || {
            let salt = SaltString::generate(&mut OsRng);
            Argon2::default().hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string())
        });
        hashed.await?.map_err(|_| PasswordError::Failed)
    }

    /// Whether the password matches the hash. Without a hash it takes as long, and is false.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn verify(
        &self,
        asker: HashRequester,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let verified = self.queued(asker, move || {
            let hash = hash.as_deref().unwrap_or(DECOY);
            let hash = PasswordHash::new(hash).map_err(|_| PasswordError::Failed)?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        verified.await?
    }

    /// Derives a key that is as hard to guess as the password is from its hash. The same password
    /// and salt give the same key.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn key(
        &self,
        asker: HashRequester,
        password: String,
        salt: Vec<u8>,
    ) -> Result<[u8; 32], PasswordError> {
        let made = self.queued(asker, move || {
            let mut key = [0; 32];
            let made = Argon2::default().hash_password_into(password.as_bytes(), &salt, &mut key);
            made.map(|()| key)
        });
        made.await?.map_err(|_| PasswordError::Failed)
    }

    /// Runs `work` once a permit is free. A caller that is dropped while waiting leaves the queue;
    /// work that has begun keeps its permit to the end.
    async fn queued<T: Send + 'static>(
        &self,
        asker: HashRequester,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        // Before the queue: a caller that waits here takes no place in it.
        let _own = match asker {
            HashRequester::User(user) => (self.users.take(user).await, None),
            HashRequester::Address(address) => (None, self.addresses.take(address).await),
        };
        let _place = self.places.try_acquire().map_err(|_| PasswordError::Busy)?;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        let permit = permit.map_err(|_| PasswordError::Failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| PasswordError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const ASKER: HashRequester = HashRequester::User(1);

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash(ASKER, "correct horse".into()).await.unwrap();
        assert!(passwords.verify(ASKER, "correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(ASKER, "correct hors".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(ASKER, "correct horse".into(), None).await.unwrap());
        let parameters = |hash: &str| PasswordHash::new(hash).unwrap().params.clone();
        assert_eq!(parameters(&hash), parameters(DECOY));
    }

    #[tokio::test]
    async fn a_key_is_of_one_password_and_one_salt() {
        let passwords = Passwords::default();
        let key = async |password: &str, salt: &str| {
            passwords.key(ASKER, password.into(), salt.into()).await.unwrap()
        };
        let one = key("correct horse", "some salt").await;
        assert_eq!(one, key("correct horse", "some salt").await);
        assert_ne!(one, key("correct hors", "some salt").await);
        assert_ne!(one, key("correct horse", "some other salt").await);
    }

    #[tokio::test]
    async fn one_user_has_one_place_in_the_queue_and_who_leaves_frees_it() {
        let passwords = Passwords::default();
        // No permit is free, so whoever is in the queue stays there.
        let _all =
            passwords.running.acquire_many(passwords.running.available_permits() as u32).await;
        let ask = |asker: HashRequester| Box::pin(passwords.hash(asker, "correct horse".into()));
        let mut waiting: Vec<_> = (0..500).map(|_| ask(HashRequester::User(1))).collect();
        waiting.extend((0..500).map(|_| ask(HashRequester::Address(None))));
        for one in &mut waiting {
            assert!(tokio::task::unconstrained(one).now_or_never().is_none());
        }
        assert_eq!(passwords.places.available_permits(), QUEUE - 1 - OF_AN_ADDRESS);
        drop(waiting);
        assert_eq!(passwords.places.available_permits(), QUEUE);
        let mut many: Vec<_> =
            (0..QUEUE as i64).map(|user| ask(HashRequester::User(user))).collect();
        for one in &mut many {
            assert!(tokio::task::unconstrained(one).now_or_never().is_none());
        }
        let refused = tokio::task::unconstrained(ask(HashRequester::User(-1))).now_or_never();
        assert_eq!(refused, Some(Err(PasswordError::Busy)));
    }
}
