//! Cursors: opaque to clients, a place in an order to us. Nothing in one is secret, and nothing in one
//! is trusted: whoever likes can make one up.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::task_list::Place;

/// A cursor with a title of 200 characters in it is shorter; whoever sends a longer one made it up.
const CURSOR_BYTES: usize = 4096;

/// A cursor of the task list: the name of the order it belongs to, and the place in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCursor(pub String, pub Place);

/// The text of a place.
pub fn encode<P: Serialize>(place: &P) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(crate::http::answer::encode(place))
}

/// The place of a text; `None` if it is none.
pub fn decode<P: DeserializeOwned>(text: &str) -> Option<P> {
    if text.len() > CURSOR_BYTES {
        return None;
    }
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
