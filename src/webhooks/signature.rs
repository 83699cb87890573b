//! Signatures of Standard Webhooks 1.0, symmetric: HMAC-SHA256 over id, timestamp and body.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

use crate::ground::secret::Secret;

/// The prefix of a secret, by which it is recognised where it should not be.
const PREFIX: &str = "whsec_";
/// How many random bytes a new secret has; the specification allows 24 to 64.
const BYTES: usize = 32;

/// The key of an endpoint: `whsec_` and the base64 of its bytes.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// A new one that nobody can guess.
    pub fn random() -> SigningSecret {
        SigningSecret(rand::random::<[u8; BYTES]>().to_vec())
    }

    /// The secret with these bytes.
    pub fn of_bytes(bytes: Vec<u8>) -> SigningSecret {
        SigningSecret(bytes)
    }

    /// Its bytes, to be sealed.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As its owner is shown it, once.
    pub fn shown(&self) -> Secret {
        Secret::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(&self.0)))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut signing = hmac::Context::with_key(&key);
        signing.update(format!("{id}.{timestamp}.").as_bytes());
        signing.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signing.sign()))
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The value of `webhook-signature`: a signature by each secret, the newest first. While a secret
/// is rotated there are two. `timestamp` is in seconds since 1970.
pub fn signature(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures: Vec<String> =
        secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let key = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secrets = [SigningSecret::of_bytes(key)];
        let made = signature(
            &secrets,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_for_itself_and_is_not_printed() {
        let (new, old) = (SigningSecret::random(), SigningSecret::random());
        let both = signature(&[new.clone(), old.clone()], "id", 1, b"body");
        let [first, second] = both.split(' ').collect::<Vec<_>>()[..] else { panic!("{both}") };
        assert_eq!(first, signature(std::slice::from_ref(&new), "id", 1, b"body"));
        assert_eq!(second, signature(&[old], "id", 1, b"body"));
        assert_ne!(first, second);
        assert_eq!(format!("{new:?} {:?}", new.shown()), "*** ***");
        let shown = new.shown();
        let text = shown.expose().strip_prefix("whsec_").unwrap();
        assert_eq!(BASE64_STANDARD.decode(text).unwrap(), new.bytes());
    }
}
