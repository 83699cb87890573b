//! Log lines in the text form: each stays one line.

use std::fmt;

use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Fields as text, on one line whatever is in them: an error may repeat what somebody else's server or
/// message has said, and could otherwise forge lines, or steer a terminal.
pub(super) fn escaped_fields() -> impl for<'w> FormatFields<'w> + 'static {
    debug_fn(|writer: &mut Writer<'_>, field, value| {
        let value = Escaped(value);
        match (field.name(), writer.has_ansi_escapes()) {
            // Where a line of the older kind came from.
            (name, _) if name.starts_with("log.") => Ok(()),
            ("message", _) => write!(writer, "{value}"),
            // Italic and dimmed, as the library does it by itself.
            (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
            (name, false) => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
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
                    // The last two end lines as well, for some readers.
                    c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => {
                        write!(self.0, "{}", c.escape_default())
                    }
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

    /// What a subscriber of ours writes about something.
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
}
