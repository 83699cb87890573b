//! Prints dead letters on a terminal.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::dead_letters::{DeadLetter, Forecast, LetterGroup, Replay};
use crate::ground::output::{self, OutputError};

pub(super) fn list(letters: &[DeadLetter], total: i64) -> Result<(), OutputError> {
    output::print(format_args!(
        "{:36}  {:12}  {:>8}  {:17}  {:>8}  {:20}  ERROR",
        "ID", "TYPE", "TASK", "REASON", "ATTEMPTS", "DIED"
    ))?;
    for letter in letters {
        output::print(format_args!(
            "{:36}  {:12}  {:>8}  {:17}  {:>8}  {:20}  {}",
            letter.id,
            letter.event_type.as_deref().unwrap_or("?"),
            task(letter).or_else(|| other_subject(letter)).unwrap_or("?".into()),
            letter.reason,
            letter.attempts,
            letter.died_at.map_or("?".into(), time),
            letter.error.as_deref().unwrap_or("").replace('\n', " ")
        ))?;
    }
    let more =
        if (letters.len() as i64) < total { "; --all lists all, --limit N so many" } else { "" };
    output::print(format_args!("{} of {total}{more}", letters.len()))
}

pub(super) fn groups(groups: &[LetterGroup]) -> Result<(), OutputError> {
    output::print(format_args!(
        "{:16}  {:>8}  {:20}  {:20}  {:7}  {:10}  {:14}  ERROR",
        "GROUP", "COUNT", "FIRST", "LAST", "GROWING", "EFFECT", "TYPE"
    ))?;
    for group in groups {
        output::print(format_args!(
            "{:16}  {:>8}  {:20}  {:20}  {:7}  {:10}  {:14}  {}",
            group.fingerprint,
            group.count,
            time(group.first_at),
            time(group.last_at),
            if group.growing { "yes" } else { "no" },
            group.effect.as_deref().unwrap_or("-"),
            group.event_type.as_deref().unwrap_or("?"),
            group.error.replace('\n', " "),
        ))?;
    }
    let letters: i64 = groups.iter().map(|group| group.count).sum();
    output::print(format_args!("{letters} dead letters of {} causes", groups.len()))
}

/// What a replay would do, or would have done if there had been a letter.
pub(super) fn forecast(causes: &[Forecast], dry_run: bool) -> Result<(), OutputError> {
    for cause in causes {
        let sent = cause.letters - cause.already_done;
        let mut line = format!("{}  {sent} would be sent", cause.fingerprint);
        if cause.already_done > 0 {
            line.push_str(&format!(", {} are done already", cause.already_done));
        }
        if cause.hopeless > 0 {
            line.push_str(&format!(", {} of them will fail again", cause.hopeless));
        }
        output::print(format_args!("{line}: {}", cause.error.replace('\n', " ")))?;
    }
    let letters: i64 = causes.iter().map(|cause| cause.letters).sum();
    let nothing = if dry_run { "a dry run: nothing was sent" } else { "nothing was sent" };
    output::print(format_args!("{letters} dead letters selected; {nothing}"))
}

pub(super) fn replays(replays: &[Replay]) -> Result<(), OutputError> {
    output::print(format_args!(
        "{:>6}  {:8}  {:20}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  BY, WHY",
        "ID", "STATE", "CREATED", "LETTERS", "WAITING", "DONE", "FAILED", "ALREADY"
    ))?;
    for replay in replays {
        output::print(format_args!(
            "{:>6}  {:8}  {:20}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {}{}",
            replay.id,
            replay.state,
            time(replay.created_at),
            replay.total,
            replay.waiting,
            replay.done,
            replay.failed_again,
            replay.already_done,
            replay.created_by,
            replay.reason.as_ref().map(|why| format!(", {why}")).unwrap_or_default(),
        ))?;
    }
    Ok(())
}

/// How a replay has ended, or how far it has come.
pub(super) fn replay(replay: &Replay) -> Result<(), OutputError> {
    let why = replay.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    output::print(format_args!(
        "replay {} {}{why}: {} of {} done, {} failed again, {} already done, {} under way, {} not sent",
        replay.id,
        replay.state,
        replay.done,
        replay.total,
        replay.failed_again,
        replay.already_done,
        replay.sent,
        replay.waiting,
    ))
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
    let settled = letter.settled_by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
    output::print(format_args!("state     {}{settled}", letter.state))?;
    output::print(format_args!("group     {}", letter.fingerprint))?;
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

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
