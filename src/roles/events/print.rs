//! Prints events on a terminal.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::ground::output::{self, OutputError};
use crate::http::dto::{EventDetailView, EventView, StoryLineView};

pub(super) fn list(events: &[EventView]) -> Result<(), OutputError> {
    output::print(format_args!(
        "{:36}  {:24}  {:14}  {:20}  STATE",
        "ID", "OCCURRED", "TYPE", "SUBJECT"
    ))?;
    for event in events {
        output::print(format_args!(
            "{:36}  {:24}  {:14}  {:20}  {}",
            event.event_id,
            time(event.occurred_at),
            event.event_type,
            subject(event.subject.kind.as_str(), event.subject.id, event.subject.version),
            event.state,
        ))?;
    }
    Ok(())
}

/// The event, where it stands, and what happened, a line each.
pub(super) fn story(event: &EventDetailView) -> Result<(), OutputError> {
    let subject = subject(&event.subject.kind, event.subject.id, event.subject.version);
    output::print(format_args!("event    {}", event.event_id))?;
    output::print(format_args!("what     {} of {subject}", event.event_type))?;
    let why = event.why_not_done.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    output::print(format_args!("state    {}{why}", event.state))?;
    if let Some(request) = &event.request_id {
        output::print(format_args!("request  {request}"))?;
    }
    if let Some(trace) = &event.trace_id {
        output::print(format_args!("trace    {trace}"))?;
    }
    output::print("story")?;
    event.story.iter().try_for_each(|line| output::print(told(line)))?;
    output::print("payload")?;
    output::print(serde_json::to_string_pretty(&event.payload).unwrap_or_default())
}

/// One line: when, what, of which effect, by whom, and why.
fn told(line: &StoryLineView) -> String {
    let mut effect = line.effect.clone().unwrap_or_default();
    if let Some(target) = &line.target {
        effect.push_str(&format!("/{target}"));
    }
    let mut text = format!("  {:24}  {:9}  {effect:10}", time(line.at), line.outcome);
    let mut add = |part: String| text.push_str(&format!("  {part}"));
    if let Some(attempt) = line.attempt {
        add(format!("attempt {attempt}"));
    }
    if let Some(by) = line.worker.as_ref().or(line.by.as_ref()) {
        add(format!("by {by}"));
    }
    if let Some(message) = &line.message {
        add(message.clone());
    }
    if let Some(at) = line.next_try_at {
        add(format!("next at {}", time(at)));
    }
    if let Some(letter) = &line.dead_letter_id {
        add(format!("letter {letter}"));
    }
    text.trim_end().to_owned()
}

fn subject(kind: &str, id: i64, version: i64) -> String {
    format!("{kind} {id} v{version}")
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
