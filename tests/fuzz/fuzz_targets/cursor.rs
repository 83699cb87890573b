//! Cursors that somebody made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taskd::http::extract::cursor::{TaskCursor, decode, encode};

fuzz_target!(|text: &str| {
    if let Some(cursor) = decode::<TaskCursor>(text) {
        assert_eq!(decode::<TaskCursor>(&encode(&cursor)), Some(cursor), "{text}");
    }
    let _ = (decode::<i64>(text), decode::<(i64, i64)>(text));
});
