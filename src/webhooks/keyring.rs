//! Keeps the secrets of endpoints sealed in the database, under `SECRET_KEY`.

use std::str::FromStr;
use std::sync::Arc;

use ring::digest;

use super::signature::SigningSecret;
use crate::access::{Purpose, Seal};
use crate::store::webhooks::secrets::{self, SealedRow};
use crate::store::{Store, StoreError, transaction};

/// The fewest characters of a key: those of 128 random bits in hexadecimal digits.
const LEAST: usize = 32;
/// How many bytes of a key's hash name it.
const NAME_BYTES: usize = 8;
/// How many secrets are sealed anew in one transaction.
const BATCH: i64 = 100;

/// The keys that open secrets. The first one seals.
#[derive(Clone)]
pub struct Keyring(Arc<Vec<Key>>);

struct Key {
    /// The beginning of its hash, by which a secret says what it was sealed with.
    name: [u8; NAME_BYTES],
    seal: Seal,
    /// What answers that show a secret are sealed with.
    of_answers: Vec<u8>,
}

impl FromStr for Keyring {
    type Err = String;

    /// Reads keys that are separated by commas, the present one first.
    fn from_str(text: &str) -> Result<Keyring, String> {
        let key = |key: &str| {
            let key = key.trim();
            if key.chars().count() < LEAST {
                return Err(format!(
                    "must be a key of {LEAST} characters at least that nobody can guess, such as \
                     openssl rand -hex 32 prints, or several separated by commas, the present one first"
                ));
            }
            let hash = digest::digest(&digest::SHA256, format!("name of {key}").as_bytes());
            let mut name = [0; NAME_BYTES];
            name.copy_from_slice(&hash.as_ref()[..NAME_BYTES]);
            let seal = Seal::new(Purpose::WEBHOOK, key.as_bytes(), "");
            Ok(Key { name, seal, of_answers: key.as_bytes().to_vec() })
        };
        let keys: Vec<Key> = text.split(',').map(key).collect::<Result<_, String>>()?;
        Ok(Keyring(Arc::new(keys)))
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Keyring {
    /// Seals the secret of an endpoint. It opens for no other.
    pub fn seal(&self, webhook_id: i64, secret: &SigningSecret) -> Vec<u8> {
        // One key is there at least: no text splits into none.
        let Some(key) = self.0.first() else { return Vec::new() };
        let sealed = key.seal.seal(&webhook_id.to_be_bytes(), secret.bytes().to_vec());
        [key.name.as_slice(), &sealed].concat()
    }

    /// Opens the secret of an endpoint; `None` if no key of ours has sealed it.
    pub fn open(&self, webhook_id: i64, sealed: &[u8]) -> Option<SigningSecret> {
        let (name, sealed) = sealed.split_at_checked(NAME_BYTES)?;
        let key = self.0.iter().find(|key| key.name == name)?;
        key.seal.open(&webhook_id.to_be_bytes(), sealed).map(SigningSecret::of_bytes)
    }

    /// Opens all that sign for an endpoint: its secret, then those before it that still count.
    /// `None` if no key of ours opens its secret; an old one that none opens is left out.
    pub fn open_all(
        &self,
        webhook_id: i64,
        secret: &[u8],
        old_secrets: &[Vec<u8>],
    ) -> Option<Vec<SigningSecret>> {
        let mut opened = vec![self.open(webhook_id, secret)?];
        opened.extend(old_secrets.iter().filter_map(|old| self.open(webhook_id, old)));
        Some(opened)
    }

    /// What answers that show a secret are sealed with while they are kept.
    pub fn of_answers(&self) -> &[u8] {
        self.0.first().map(|key| key.of_answers.as_slice()).unwrap_or_default()
    }

    /// Seals every secret anew by the present key, so that the keys before are needed no more.
    /// Returns how many endpoints have one, and the ids of those whose secret no key opens: they
    /// stay as they are.
    ///
    /// # Errors
    /// The database fails; what was sealed until then stays so, and opens with either key.
    pub async fn reseal(&self, store: &Store) -> Result<(usize, Vec<i64>), StoreError> {
        let (mut sealed, mut lost, mut after) = (0, Vec::new(), 0);
        loop {
            let mut connection = store.connection().await?;
            let batch = transaction(&mut connection, async |connection| {
                let rows = secrets::after(connection, after, BATCH).await?;
                for row in &rows {
                    match self.again(row) {
                        Some(row) => secrets::replace(connection, &row).await?,
                        None => lost.push(row.id),
                    }
                }
                Ok(rows)
            })
            .await?;
            let Some(last) = batch.last() else { return Ok((sealed - lost.len(), lost)) };
            (sealed, after) = (sealed + batch.len(), last.id);
        }
    }

    fn again(&self, row: &SealedRow) -> Option<SealedRow> {
        let again = |sealed: &Vec<u8>| Some(self.seal(row.id, &self.open(row.id, sealed)?));
        // An old secret that nobody can open is of no use, and ends by itself.
        let old_secrets = row.old_secrets.iter().filter_map(again).collect();
        Some(SealedRow { id: row.id, secret: again(&row.secret)?, old_secrets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_endpoint_and_with_any_key_of_the_ring() {
        let (first, second) = ("a".repeat(32), "b".repeat(40));
        let old: Keyring = first.parse().unwrap();
        let secret = SigningSecret::random();
        let sealed = old.seal(7, &secret);
        assert!(!sealed.windows(8).any(|part| secret.bytes().starts_with(part)));
        let opened = |ring: &Keyring, id: i64| ring.open(id, &sealed).map(|s| s.bytes().to_vec());
        assert_eq!(opened(&old, 7), Some(secret.bytes().to_vec()));
        assert_eq!(opened(&old, 8), None, "it is of another endpoint");
        let both: Keyring = format!("{second}, {first}").parse().unwrap();
        assert_eq!(opened(&both, 7), Some(secret.bytes().to_vec()));
        let new: Keyring = second.parse().unwrap();
        assert_eq!(opened(&new, 7), None);
        let fresh = new.seal(7, &secret);
        let old_ones = [sealed.clone()];
        let count = |ring: &Keyring| ring.open_all(7, &fresh, &old_ones).map(|all| all.len());
        assert_eq!((count(&both), count(&new), count(&old)), (Some(2), Some(1), None));
        let row = SealedRow { id: 7, secret: sealed.clone(), old_secrets: vec![sealed.clone()] };
        let again = both.again(&row).unwrap();
        assert_eq!(new.open(7, &again.secret).unwrap().bytes(), secret.bytes());
        assert!(again.old_secrets.len() == 1 && new.again(&row).is_none());
        assert_eq!(format!("{new:?}"), "***");
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        let short = ["", "x", &"a".repeat(31), &format!("{},short", "a".repeat(32))];
        for wrong in short {
            let error = wrong.parse::<Keyring>().unwrap_err();
            assert!(error.contains("openssl rand -hex 32") && !error.contains("aaaa"), "{error}");
        }
    }
}
