//! The progress of a long command, on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::ground::output;

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often what has no events of its own is looked at.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// Shows how far a command has come.
pub(super) struct Progress {
    form: Form,
    what: &'static str,
}

enum Form {
    Quiet,
    Bar(ProgressBar),
    Lines(Option<Instant>),
}

impl Progress {
    /// The progress of a command that has `what` so many of so many.
    pub(super) fn new(quiet: bool, what: &'static str) -> Progress {
        let form = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Form::Quiet,
            (false, true) => {
                let bar = ProgressBar::new(0);
                // The template is a constant, so it can be read.
                if let Ok(style) = ProgressStyle::with_template(
                    "{bar:30} {pos} of {len}  {per_sec}  {eta} left  {msg}",
                ) {
                    bar.set_style(style);
                }
                Form::Bar(bar)
            }
            (false, false) => Form::Lines(None),
        };
        Progress { form, what }
    }

    /// Shows that so many are done of so many, and something else about it.
    pub(super) fn show(&mut self, done: i64, total: i64, more: &str) {
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        match &mut self.form {
            Form::Quiet => {}
            Form::Bar(bar) => {
                bar.set_length(number(total));
                bar.set_position(number(done));
                bar.set_message(more.to_owned());
            }
            Form::Lines(last) => {
                if last.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                    *last = Some(Instant::now());
                    output::complain(format_args!("{done} of {total} {}, {more}", self.what));
                }
            }
        }
    }

    /// Shows that so many are done, of nobody knows how many.
    pub(super) fn count(&mut self, done: i64) {
        match &mut self.form {
            Form::Quiet => {}
            Form::Bar(bar) => {
                if let Ok(style) =
                    ProgressStyle::with_template("{spinner} {pos} {msg}  {per_sec}  {elapsed}")
                {
                    bar.set_style(style);
                }
                bar.set_position(u64::try_from(done).unwrap_or_default());
                bar.set_message(self.what);
            }
            Form::Lines(last) => {
                if last.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                    // What takes no time has nothing to show.
                    if last.replace(Instant::now()).is_some() {
                        output::complain(format_args!("{done} {}", self.what));
                    }
                }
            }
        }
    }

    /// Does something long, and shows every half second how many are done by then.
    pub(super) async fn during<T>(
        mut self,
        work: impl Future<Output = T>,
        done: impl Fn() -> i64,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let outcome = loop {
            self.count(done());
            tokio::select! {
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(SHOWN_EVERY) => {}
            }
        };
        self.end();
        outcome
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}
