//! The signature of a message. Others can publish to the queue, and their messages are not
//! believed.
//!
//! It is an HMAC-SHA256 (RFC 2104) under a key of the installation, over the message's id, type and
//! body and each header of ours that a worker acts on. Each part is preceded by its length, so no
//! two messages have the same input.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::hmac;

use super::message::{Message, SIGNATURE, SIGNED};

/// What a signature begins with; Base64 follows.
const VERSION: &str = "v1,";

/// Signs messages, and verifies signatures.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl Signer {
    /// A signer with this key.
    pub fn new(key: &[u8]) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Signs a message as it is now. Whoever changes it afterwards must sign it again.
    pub fn sign(&self, message: &mut Message) {
        let signature = hmac::sign(&self.0, &input(message));
        let text = format!("{VERSION}{}", STANDARD_NO_PAD.encode(signature));
        message.set_text(SIGNATURE, text);
    }

    /// Whether this key has signed the message as it is now.
    pub fn has_signed(&self, message: &Message) -> bool {
        let signature = message.text(SIGNATURE).and_then(|text| text.strip_prefix(VERSION));
        let signature = signature.and_then(|text| STANDARD_NO_PAD.decode(text).ok());
        signature
            .is_some_and(|signature| hmac::verify(&self.0, &input(message), &signature).is_ok())
    }
}

/// The input of the HMAC.
fn input(message: &Message) -> Vec<u8> {
    let mut input = Vec::with_capacity(message.body.len() + 256);
    let mut add = |part: Option<&[u8]>| {
        // An absent part has a length that no part can have, so it differs from an empty one.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        input.extend_from_slice(&length.to_be_bytes());
        input.extend_from_slice(part.unwrap_or_default());
    };
    add(message.message_id.as_deref().map(str::as_bytes));
    add(message.message_type.as_deref().map(str::as_bytes));
    add(Some(&message.body));
    for header in SIGNED {
        // As JSON, so that a string differs from a number that looks like it.
        let value = message.headers.get(header).map(ToString::to_string);
        add(value.as_deref().map(str::as_bytes));
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message() -> Message {
        let mut message = Message {
            body: b"{}".to_vec(),
            message_id: Some("id".into()),
            message_type: Some("T".into()),
            ..Message::default()
        };
        message.set_attempt(2);
        message
    }

    #[test]
    fn whatever_a_worker_acts_on_is_signed_and_nothing_else() {
        let signer = Signer::new(b"key");
        let mut signed = message();
        assert!(!signer.has_signed(&signed));
        signer.sign(&mut signed);
        assert!(signer.has_signed(&signed));
        assert!(!Signer::new(b"another").has_signed(&signed));

        let changed = |change: &dyn Fn(&mut Message)| {
            let mut message = signed.clone();
            change(&mut message);
            signer.has_signed(&message)
        };
        assert!(!changed(&|m| m.body.push(b' ')));
        assert!(!changed(&|m| m.message_id = None));
        assert!(!changed(&|m| m.message_id = Some("other".into())));
        assert!(!changed(&|m| m.message_type = Some("U".into())));
        assert!(!changed(&|m| m.set_attempt(3)));
        assert!(!changed(&|m| m.set_recorded()));
        for header in SIGNED {
            assert!(!changed(&|m| m.set_text(header, "2")), "{header}");
        }
        assert!(!changed(&|m| drop(m.headers.remove(SIGNATURE))));
        for signature in ["", "v1,", "v2,AAAA", "v1,not base64", "AAAA"] {
            assert!(!changed(&|m| m.set_text(SIGNATURE, signature)), "{signature}");
        }
        // Whatever the broker and others add is not signed.
        assert!(changed(&|m| drop(m.headers.insert("tenant".into(), json!([1])))));
        assert!(changed(&|m| m.set_text("tenant", "t")));
        assert!(changed(&|m| m.content_type = Some("text/plain".into())));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let with = |id: &str, kind: Option<&str>| Message {
            message_id: Some(id.into()),
            message_type: kind.map(str::to_owned),
            ..Message::default()
        };
        let inputs =
            [with("ab", None), with("a", Some("b")), with("ab", Some("")), with("", Some("ab"))];
        for (index, one) in inputs.iter().enumerate() {
            for other in &inputs[..index] {
                assert_ne!(input(one), input(other));
            }
        }
    }
}
