//! The event decoder, with bytes that come from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taskd::domain::catalog::built_in;

fuzz_target!(|input: (&[u8], Option<&str>, Option<&str>)| {
    let (body, message_id, message_type) = input;
    // The id that the body itself names, so that a good body gets through to the end.
    let named = named_id(body);
    for id in [message_id, named.as_deref()] {
        if let Ok(event) = built_in().decode(body, id, message_type) {
            let again = built_in().decode(&event.encode(), id, message_type);
            assert_eq!(again.ok(), Some(event), "an event is read as it was written");
        }
    }
});

/// What stands after `"eventId":"` in a body.
fn named_id(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("\"eventId\":\"")?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}
