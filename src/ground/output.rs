//! What commands print. Output that can't be written is a failure of the command: what was asked for is
//! nowhere to be read. Much of it is others' text, so nothing in it steers a terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::ground::telemetry::printable;

/// Standard output can't be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output can't be written: {0}")]
pub struct OutputError(std::io::Error);

/// Prints a line to standard output. A reader that has gone, as `head` does, is no error.
///
/// # Errors
/// It can't be written, such as to a full disk.
pub fn print(text: impl Display) -> Result<(), OutputError> {
    printed(write(text))
}

/// Prints a line that can't be had again: here a reader that has gone is an error too.
///
/// # Errors
/// It can't be written.
pub fn print_once(text: impl Display) -> Result<(), OutputError> {
    write(text).map_err(OutputError)
}

/// What came of writing to standard output, as [`print()`] says it.
///
/// # Errors
/// It was not written, for another reason than that its reader has gone.
pub fn printed(written: std::io::Result<()>) -> Result<(), OutputError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

/// In one piece: a line that is half written is of no use.
fn write(text: impl Display) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{}\n", printable(&text.to_string())).as_bytes())?;
    output.flush()
}

/// Says on standard error what is wrong. Where nobody listens there is nothing to be done.
pub fn complain(text: impl Display) {
    let text = format!("taskd: {text}");
    let _ = writeln!(std::io::stderr(), "{}", printable(&text));
}
