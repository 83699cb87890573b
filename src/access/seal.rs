//! Encrypts a text so that only whoever brings a secret can read it again.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

/// What is sealed. It separates these keys from everything else that is derived from the same
/// secret, such as a token's hash.
#[derive(Debug, Clone, Copy)]
pub struct Purpose(&'static [u8]);

impl Purpose {
    /// An answer that is kept for its `Idempotency-Key`.
    pub const ANSWER: Purpose = Purpose(b"taskd: an answer kept for its Idempotency-Key");
    /// The secret of a webhook.
    pub const WEBHOOK: Purpose = Purpose(b"taskd: the secret of a webhook");
}

/// Encrypts and decrypts (ChaCha20-Poly1305, RFC 8439); the nonce comes first in the output.
pub struct Seal(LessSafeKey);

impl Seal {
    /// Derives the key from the secret and the name. The secret must be impossible to guess.
    #[expect(clippy::expect_used, reason = "HKDF gives up to 8,160 bytes, and 32 are asked for")]
    pub fn new(Purpose(purpose): Purpose, secret: &[u8], name: &str) -> Seal {
        let name = [name.as_bytes()];
        let secret = Salt::new(HKDF_SHA256, purpose).extract(secret);
        let key = secret.expand(&name, &CHACHA20_POLY1305).expect("32 bytes are few enough");
        Seal(LessSafeKey::new(UnboundKey::from(key)))
    }

    /// Encrypts the text; the output may be stored anywhere. It opens only with the same `about`,
    /// which need not be secret.
    #[expect(clippy::expect_used, reason = "only texts of more than 256 GB can't be sealed")]
    pub fn seal(&self, about: &[u8], mut text: Vec<u8>) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(unique, Aad::from(about), &mut text);
        sealed.expect("the text is short enough");
        [&nonce, text.as_slice()].concat()
    }

    /// Decrypts the text; `None` if it was sealed with another secret or `about`, or is no sealed
    /// text.
    pub fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(about), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_name_and_matter_open() {
        let seal = Seal::new(Purpose::ANSWER, b"secret", "name");
        let text = b"a text".to_vec();
        let sealed = seal.seal(b"about", text.clone());
        assert_ne!(sealed, seal.seal(b"about", text.clone()), "no nonce is used twice");
        assert!(!sealed.windows(text.len()).any(|part| part == text));
        assert_eq!(
            Seal::new(Purpose::ANSWER, b"secret", "name").open(b"about", &sealed),
            Some(text)
        );
        for (secret, name, about) in
            [("other", "name", "about"), ("secret", "other", "about"), ("secret", "name", "other")]
        {
            let opened =
                Seal::new(Purpose::ANSWER, secret.as_bytes(), name).open(about.as_bytes(), &sealed);
            assert_eq!(opened, None, "{secret} {name} {about}");
        }
        let other = Seal::new(Purpose::WEBHOOK, b"secret", "name");
        assert_eq!(other.open(b"about", &sealed), None);
    }

    #[test]
    fn what_was_changed_or_is_not_sealed_does_not_open() {
        let seal = Seal::new(Purpose::ANSWER, b"secret", "name");
        let sealed = seal.seal(b"", b"a text".to_vec());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(seal.open(b"", &changed), None, "byte {place}");
            assert_eq!(seal.open(b"", &sealed[..place]), None, "the first {place} bytes");
        }
    }
}
