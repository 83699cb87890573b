//! Cursors as text: opaque to clients, and not trusted, since clients can forge one.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::domain::event::snapshot::Cursor;

/// The longest cursor, in bytes: what proxies take as a line of a request. It has room for some 500
/// transactions that are open at a time.
const LONGEST_CURSOR: usize = 6 * 1024;

/// A cursor as text.
#[expect(clippy::expect_used, reason = "numbers and a text: always JSON")]
pub fn write(cursor: &Cursor) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).expect("a cursor is JSON"))
}

/// The cursor that a text is; `None` if it isn't one.
pub fn read(text: &str) -> Option<Cursor> {
    if text.len() > LONGEST_CURSOR {
        return None;
    }
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
