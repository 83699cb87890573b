//! Escapes others' text in the log and on a terminal: each log line stays one line, and nothing
//! controls the terminal.

use std::borrow::Cow;
use std::fmt;

use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Fields as text, on one line whatever is in them. An error may repeat what another server or a
/// message has said, and could otherwise forge lines, or control the terminal.
pub(super) fn escaped_fields() -> impl for<'w> FormatFields<'w> + 'static {
    debug_fn(|writer: &mut Writer<'_>, field, value| {
        let value = Escaped(value);
        match (field.name(), writer.has_ansi_escapes()) {
            // Where a line of the `log` crate came from.
            (name, _) if name.starts_with("log.") => Ok(()),
            ("message", _) => write!(writer, "{value}"),
            // Italic and dimmed, as the library does it by default.
            (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
            (name, false) => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

/// Whether a character does something instead of being seen: controls, ends of lines, and
/// characters that change the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text for a terminal. Its lines stay lines; any other such character is written as JSON does
/// (`\u001b`), so that a JSON text stays the same document.
pub fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| c == '\n' || !steers(c);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match harmless(c) {
            true => printable.push(c),
            false => printable.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(printable)
}

/// A value with its control characters escaped.
struct Escaped<'a>(&'a dyn fmt::Debug);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    c if steers(c) => write!(self.0, "{}", c.escape_default()),
                    c => self.0.write_char(c),
                })
            }
        }
        write!(Escaping(f), "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What our subscriber logs while `what` runs.
    fn logged(what: impl FnOnce()) -> String {
        let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(escaped_fields())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || Sink(sink.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, what);
        let lines = lines.lock().unwrap();
        String::from_utf8(lines.clone()).unwrap()
    }

    struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_text_can_begin_a_line_of_the_log_or_steer_a_terminal() {
        let bad = "a\r\nERROR forged\u{1b}[2J\u{9b}\u{2028}𝄞";
        let error = std::io::Error::other(bad);
        let text = logged(|| {
            tracing::warn!(shown = %bad, text = bad, debugged = ?bad, %error, "said: {bad}");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(text.ends_with('\n') && text.contains("shown=a\\r\\nERROR forged"), "{text:?}");
        let controls = text.trim_end().chars().filter(|c| c.is_control() || *c == '\u{2028}');
        assert_eq!(controls.count(), 0, "{text:?}");
        assert!(text.contains('𝄞'), "{text:?}");
    }

    #[test]
    fn a_line_is_what_it_always_was() {
        let text = logged(|| tracing::info!(worker = "w", count = 2, ok = true, "done"));
        assert_eq!(text, " INFO done worker=\"w\" count=2 ok=true\n");
    }

    #[test]
    fn nothing_printed_steers_a_terminal_and_json_stays_what_it_was() {
        let bad = "a\u{1b}]0;title\u{7}\u{9b}31m\u{7f}\r\u{202e}gpj\n𝄞\t";
        let printed = printable(bad);
        assert_eq!(printed.lines().count(), 2);
        assert!(!printed.chars().any(|c| c != '\n' && steers(c)), "{printed:?}");
        assert!(
            printed.contains("\\u001b]0;title\\u0007\\u009b31m\\u007f\\u000d\\u202egpj\n𝄞"),
            "{printed}"
        );
        let value = serde_json::json!({ "error": bad });
        let text = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printable(&text)).unwrap(), value);
    }
}
