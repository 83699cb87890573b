//! Prints dead letters on a terminal.

use crate::dead_letters::DeadLetter;
use crate::ground::output::{self, OutputError};

pub(super) fn list(letters: &[DeadLetter], total: u64) -> Result<(), OutputError> {
    output::print(format_args!(
        "{:36}  {:12}  {:>8}  {:17}  {:>8}  {:20}  ERROR",
        "ID", "TYPE", "TASK", "REASON", "ATTEMPTS", "DIED"
    ))?;
    for letter in letters {
        let died = letter
            .died_at
            .map_or("?".into(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        output::print(format_args!(
            "{:36}  {:12}  {:>8}  {:17}  {:>8}  {died:20}  {}",
            letter.id,
            letter.event_type.as_deref().unwrap_or("?"),
            task(letter).or_else(|| other_subject(letter)).unwrap_or("?".into()),
            letter.reason,
            letter.attempts,
            letter.error.as_deref().unwrap_or("").replace('\n', " ")
        ))?;
    }
    let more = match letters.len() as u64 {
        shown if shown < total => "; --all lists all, --limit N so many",
        _ => "",
    };
    output::print(format_args!("{} of {total}{more}", letters.len()))
}

/// What was replayed, a line each, and how many.
pub(super) fn replayed(letters: &[DeadLetter]) -> String {
    let ids = letters.iter().map(|letter| format!("replayed  {}\n", letter.id));
    format!("{}{} replayed", ids.collect::<String>(), letters.len())
}

/// The task that a letter is about.
fn task(letter: &DeadLetter) -> Option<String> {
    letter.task_id.map(|id| id.to_string())
}

/// What a letter is about, if that is no task, such as `reminder 7`.
fn other_subject(letter: &DeadLetter) -> Option<String> {
    let subject = letter.subject.as_ref().filter(|_| letter.task_id.is_none())?;
    Some(format!("{} {}", subject.kind, subject.id))
}

pub(super) fn show(letter: &DeadLetter) -> Result<(), OutputError> {
    let none = || "unknown".to_owned();
    output::print(format_args!("id        {}", letter.id))?;
    output::print(format_args!("event     {}", letter.event_id.clone().unwrap_or_else(none)))?;
    output::print(format_args!("type      {}", letter.event_type.clone().unwrap_or_else(none)))?;
    match other_subject(letter) {
        Some(subject) => output::print(format_args!("subject   {subject}"))?,
        None => output::print(format_args!("task      {}", task(letter).unwrap_or_else(none)))?,
    }
    output::print(format_args!("reason    {}", letter.reason))?;
    output::print(format_args!("error     {}", letter.error.clone().unwrap_or_else(none)))?;
    output::print(format_args!("attempts  {}", letter.attempts))?;
    output::print("history")?;
    for failure in &letter.history {
        output::print(format_args!(
            "  {}  attempt {}  {}  {}: {}",
            failure.at.to_rfc3339(),
            failure.attempt,
            failure.worker,
            failure.effect.as_deref().unwrap_or("message"),
            failure.error
        ))?;
    }
    output::print("headers")?;
    for (name, value) in &letter.headers {
        output::print(format_args!("  {name}: {value}"))?;
    }
    output::print("body")?;
    output::print(serde_json::to_string_pretty(&letter.body).unwrap_or_default())
}
