//! Passwords: argon2id (RFC 9106), off the async threads, a few at a time.

use std::sync::Arc;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

/// What is compared with where there is nothing to compare with, so that a wrong e-mail address
/// takes as long as a wrong password. It has the parameters of [`Argon2::default`], and no password
/// is known for it.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dGFza2QgZGVjb3kgc2FsdA$\
     AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password could not be hashed: a fault of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password could not be hashed")]
pub struct PasswordError;

/// Hashes and verifies. Each takes some 20 ms of one core and 19 MiB.
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    /// Half of the cores at a time: a burst of sign-ins leaves the other half to other requests.
    fn default() -> Passwords {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords { turns: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }
}

impl Passwords {
    /// The hash of a password, in the PHC string form, with the parameters of RFC 9106's second
    /// choice as the crate has them.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let hashed = self.in_turn(move || {
            let salt = SaltString::generate(&mut OsRng);
            Argon2::default().hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string())
        });
        hashed.await?.map_err(|_| PasswordError)
    }

    /// Whether a password is the one of this hash. Without a hash it takes as long and is not.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let verified = self.in_turn(move || {
            let hash = hash.as_deref().unwrap_or(DECOY);
            let hash = PasswordHash::new(hash).map_err(|_| PasswordError)?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        verified.await?
    }

    /// A key that takes as long to guess at as the password does by its hash. The same password and
    /// salt make the same key.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn key(&self, password: String, salt: Vec<u8>) -> Result<[u8; 32], PasswordError> {
        let made = self.in_turn(move || {
            let mut key = [0; 32];
            let made = Argon2::default().hash_password_into(password.as_bytes(), &salt, &mut key);
            made.map(|()| key)
        });
        made.await?.map_err(|_| PasswordError)
    }

    /// One who gives up waiting leaves the queue; one whose turn has come keeps it to the end.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PasswordError)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| PasswordError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct hors".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horse".into(), None).await.unwrap());
        let parameters = |hash: &str| PasswordHash::new(hash).unwrap().params.clone();
        assert_eq!(parameters(&hash), parameters(DECOY));
    }

    #[tokio::test]
    async fn a_key_is_of_one_password_and_one_salt() {
        let passwords = Passwords::default();
        let key = async |password: &str, salt: &str| {
            passwords.key(password.into(), salt.into()).await.unwrap()
        };
        let one = key("correct horse", "some salt").await;
        assert_eq!(one, key("correct horse", "some salt").await);
        assert_ne!(one, key("correct hors", "some salt").await);
        assert_ne!(one, key("correct horse", "some other salt").await);
    }
}
