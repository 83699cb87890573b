//! The log: which lines there are, and their form.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::escape;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checks logging directives.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check(directives: &str) -> Result<(), String> {
    const TAKES: &str = "must be off, error, warn, info, debug or trace, or directives such as \
                         info,taskd::consumer=debug";
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    for part in directives.split(',').map(str::trim) {
        // A word that is no level would be a target: everything of it is logged, and nothing of all
        // others.
        let level = match (part.rfind('='), part.rfind(']')) {
            (Some(equals), None) => &part[equals + 1..],
            (Some(equals), Some(bracket)) if equals > bracket => &part[equals + 1..],
            // A span, whose level may be left out.
            (_, Some(_)) => "trace",
            (None, None) => part,
        };
        if !is_level(level) {
            return Err(format!("{part:?} has no level: {TAKES}"));
        }
    }
    EnvFilter::try_new(directives).map(drop).map_err(|error| format!("{TAKES}: {error}"))
}

/// Our own lines, in directives.
const OURS: &str = "taskd";

/// What of others' lines is shown beside ours, if the directives name no library: nothing, and from
/// `debug` on what a library tells of itself. The client of PostgreSQL writes each parameter of a
/// statement at `debug`, and parameters may be secrets: only who names it gets that.
fn of_others(ours: LevelFilter) -> &'static str {
    match ours {
        LevelFilter::TRACE => "debug,tokio_postgres=info",
        LevelFilter::DEBUG => "info",
        _ => "off",
    }
}

/// The directives for the filter, which knows no difference between our lines and those of
/// libraries: a level counts for ours, and for all others see [`of_others`].
fn with_libraries(directives: &str) -> String {
    let (mut level, mut named) = (LevelFilter::ERROR, Vec::new());
    for part in directives.split(',').map(str::trim) {
        match part.parse() {
            Ok(given) => level = given,
            Err(_) => named.push(part),
        }
    }
    let ours = level.to_string();
    let all = [of_others(level), ",", OURS, "=", &ours].concat();
    // What is named comes last, and so takes precedence.
    named.into_iter().fold(all, |all, part| [&all, ",", part].concat())
}

/// Starts logging to standard error, in this form: what `directives` let through. Directives that
/// can't be read let nothing through: see [`check`].
pub fn init(directives: &str, format: LogFormat) {
    let filter = EnvFilter::new(with_libraries(directives));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line can't be written if whoever read the log has gone. That is not worth a panic,
        // which is what reporting it to the same place would cause.
        .log_internal_errors(false);
    // A second call, as in tests, leaves the first in place.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => {
            use std::io::IsTerminal;
            builder
                .fmt_fields(escape::escaped_fields())
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .try_init()
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_about_our_lines_and_who_names_a_library_gets_what_it_says() {
        for (given, all) in [
            ("info", "off,taskd=info"),
            ("WARN", "off,taskd=warn"),
            ("off", "off,taskd=off"),
            ("debug", "info,taskd=debug"),
            ("trace", "debug,tokio_postgres=info,taskd=trace"),
            ("info,taskd::consumer=debug", "off,taskd=info,taskd::consumer=debug"),
            ("tokio_postgres=debug, info", "off,taskd=info,tokio_postgres=debug"),
            (
                "trace,tokio_postgres=trace",
                "debug,tokio_postgres=info,taskd=trace,tokio_postgres=trace",
            ),
            ("hyper=info", "off,taskd=error,hyper=info"),
        ] {
            assert_eq!(with_libraries(given), all, "{given}");
            assert!(EnvFilter::try_new(with_libraries(given)).is_ok());
        }
    }

    #[test]
    fn a_word_that_is_no_level_would_leave_the_process_mute() {
        for good in [
            "info",
            "OFF",
            "trace,tokio_postgres=info",
            "info,taskd::consumer=debug",
            "taskd=debug",
            "info,taskd[delivery{task_id=1}]=trace",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "verbose",
            "info,verbose",
            "info,",
            "taskd=verbose",
            "info,==",
            "taskd=",
            "\u{1}",
        ] {
            assert!(check(bad).unwrap_err().contains("info,taskd::consumer=debug"), "{bad:?}");
        }
    }
}
