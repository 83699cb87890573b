//! Signs messages as the publisher does.
//!
//! It is written from what is known of the signature, not with the program's code: messages that were
//! signed by one version are believed by the next only if that stays as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::hmac;

use super::Raw;

/// How many headers are signed besides the id, the type and the body. A message of a test has none of them.
const SIGNED_HEADERS: usize = 8;

pub struct Signer(hmac::Key);

impl Signer {
    pub fn new(key: &[u8]) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The value of the header `taskd-signature`: each part stands behind its length.
    pub(super) fn signature(&self, raw: &Raw) -> String {
        let id = raw.message_id.as_deref().map(str::as_bytes);
        let kind = raw.message_type.as_deref().map(str::as_bytes);
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id, kind, Some(&raw.body)].into_iter().chain([None; SIGNED_HEADERS]) {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(part.unwrap_or_default());
        }
        format!("v1,{}", STANDARD_NO_PAD.encode(context.sign()))
    }
}
