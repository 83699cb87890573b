//! Values that clients bring back as they got them, as text: JSON in base64url (RFC 4648, section
//! 5). They are not trusted, since clients can forge one.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes a value of numbers, texts and times.
#[expect(clippy::expect_used, reason = "numbers, texts and times are always JSON")]
pub fn encode<T: Serialize>(value: &T) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("a value is JSON"))
}

/// Decodes a value; `None` if the text is none, or has more than `longest` bytes.
pub fn decode<T: DeserializeOwned>(text: &str, longest: usize) -> Option<T> {
    if text.len() > longest {
        return None;
    }
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
