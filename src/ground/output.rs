//! Prints the output of commands. If it can't be written, the command has failed, since its result
//! can't be read anywhere. Much of it is others' text, so nothing in it may control a terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::ground::telemetry::printable;

/// Standard output can't be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output can't be written: {0}")]
pub struct OutputError(std::io::Error);

/// Prints a line to standard output. A reader that has gone, such as `head`, is no error.
///
/// # Errors
/// The line can't be written, for example to a full disk.
pub fn print(text: impl Display) -> Result<(), OutputError> {
    printed(write(text))
}

/// Prints a line that can't be printed again: here a reader that has gone is an error too.
///
/// # Errors
/// It can't be written.
pub fn print_once(text: impl Display) -> Result<(), OutputError> {
    write(text).map_err(OutputError)
}

/// Turns the result of writing to standard output into that of [`print()`].
///
/// # Errors
/// The line was not written, for another reason than a reader that has gone.
pub fn printed(written: std::io::Result<()>) -> Result<(), OutputError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

/// Writes the line in one piece: half a line is of no use.
fn write(text: impl Display) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{}\n", printable(&text.to_string())).as_bytes())?;
    output.flush()
}

/// Says on standard error what is wrong. If that can't be written, nothing can be done about it.
pub fn complain(text: impl Display) {
    let text = format!("taskd: {text}");
    let _ = writeln!(std::io::stderr(), "{}", printable(&text));
}
