//! What pages are made of.

mod chart;
mod fields;
mod table;

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

pub(super) use chart::{Line, chart};
pub(super) use fields::{Choice, area, choice, group, hinted_input, input, tick, time_input};
pub(super) use table::{Row, table};

use super::client::{Query, target};

/// A page of a list of the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<T> {
    /// Its rows.
    pub(super) data: Vec<T>,
    /// Where the next page begins; `None` if this is the last.
    #[serde(default)]
    pub(super) next_cursor: Option<String>,
}

/// A time. A script writes it in the reader's zone.
pub(super) fn time(at: &DateTime<Utc>) -> Markup {
    let exact = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    html! {
        time.nowrap datetime=(exact) title=(exact) { (at.format("%Y-%m-%d %H:%M:%S UTC")) }
    }
}

/// A time, or this text if there is none.
pub(super) fn time_or(at: Option<&DateTime<Utc>>, without: &str) -> Markup {
    match at {
        Some(at) => time(at),
        None => html! { span.faint { (without) } },
    }
}

/// An id or a command, to be copied.
pub(super) fn copied(text: &str) -> Markup {
    html! {
        code { (text) }
        button.copy type="button" data-copy=(text) aria-label={ "Copy " (text) } { "copy" }
    }
}

/// A word in a colour that says how it stands.
pub(super) fn badge(word: &str) -> Markup {
    toned(word, tone(word))
}

/// A word in the colour of this tone.
pub(super) fn toned(word: &str, tone: &str) -> Markup {
    html! { span class={ "badge " (tone) } { (word) } }
}

/// How it stands with what has this state or outcome: `good`, `warn`, `bad`, or nothing to say.
pub(super) fn tone(word: &str) -> &'static str {
    match word {
        "done" | "completed" | "running" | "alive" | "ok" | "closed" | "replayed" | "sent"
        | "good" => "good",
        "retrying" | "parked" | "paused" | "held" | "unpublished" | "replaying" | "stopping"
        | "canary" | "frozen" | "warning" | "failed" | "growing" | "in-progress" => "warn",
        "dead" | "open" | "failed again" | "silent" | "stopped" | "bad" | "fault" | "error" => {
            "bad"
        }
        _ => "",
    }
}

/// JSON, to be read.
pub(super) fn json(value: &Value) -> Markup {
    let text = match value {
        Value::String(text) => text.clone(),
        value => format!("{value:#}"),
    };
    html! { pre tabindex="0" { (text) } }
}

/// The way to the next page of a list, and back to its first.
pub(super) fn pager(path: &str, query: &Query<'_>, cursor: &str, next: Option<&str>) -> Markup {
    let with = |cursor: &str| {
        let mut query = query.to_vec();
        query.push(("cursor", cursor));
        target(path, &query)
    };
    html! {
        @if next.is_some() || !cursor.is_empty() {
            p.actions {
                @if !cursor.is_empty() { a.button href=(target(path, query)) { "First page" } }
                @if let Some(next) = next { a.button href=(with(next)) rel="next" { "Next page" } }
            }
        }
    }
}

/// A number with its thousands apart.
pub(super) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read() {
        for (given, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")]
        {
            assert_eq!(number(given), text);
        }
    }

    #[test]
    fn a_next_page_keeps_the_filter() {
        let page = pager("/x", &[("state", "dead"), ("type", "")], "c1", Some("c&2")).into_string();
        assert!(page.contains(r#"href="/x?state=dead""#), "{page}");
        assert!(page.contains(r#"href="/x?state=dead&amp;cursor=c%262""#), "{page}");
    }
}
