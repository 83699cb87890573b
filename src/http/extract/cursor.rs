//! Cursors: opaque to clients; to us, a position in an order. A cursor contains no secrets and is
//! not trusted: clients can forge one.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ground::opaque;
use crate::store::task_list::Position;

/// The longest cursor, in bytes. One with a title of 200 characters is shorter, so a longer one is
/// forged.
pub const CURSOR_BYTES: usize = 4096;

/// A cursor of the task list: the name of its order, and the position in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCursor(pub String, pub Position);

/// Encodes a position as a cursor.
pub fn encode<P: Serialize>(position: &P) -> String {
    opaque::encode(position)
}

/// Decodes a cursor; `None` if it isn't one.
pub fn decode<P: DeserializeOwned>(text: &str) -> Option<P> {
    opaque::decode(text, CURSOR_BYTES)
}
