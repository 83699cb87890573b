//! Cursors of the feed as text.

use crate::domain::event::snapshot::Cursor;
use crate::ground::opaque;

/// The longest cursor, in bytes: what proxies take as a line of a request. It has room for some 500
/// transactions that are open at a time.
const LONGEST_CURSOR: usize = 6 * 1024;

/// A cursor as text.
pub fn write(cursor: &Cursor) -> String {
    opaque::encode(cursor)
}

/// The cursor that a text is; `None` if it isn't one.
pub fn read(text: &str) -> Option<Cursor> {
    opaque::decode(text, LONGEST_CURSOR).filter(Cursor::is_possible)
}
