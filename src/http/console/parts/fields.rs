//! The fields of forms, each with its label and with what the API said of it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::http::console::problem::Problem;

/// What a list of choices offers: the value, and its name.
pub(in crate::http::console) type Choice = (String, String);

/// A field for a line of text.
pub(in crate::http::console) fn input(
    about: (&str, &str, &str),
    value: &str,
    problem: Option<&Problem>,
) -> Markup {
    hinted_input(about, "", value, problem)
}

/// The same with a hint at what may be written there.
pub(in crate::http::console) fn hinted_input(
    (kind, name, label): (&str, &str, &str),
    hint: &str,
    value: &str,
    problem: Option<&Problem>,
) -> Markup {
    let wrong = problem.and_then(|problem| problem.about(name));
    html! {
        label { (label)
            input type=(kind) name=(name) value=(value) aria-invalid=[wrong.map(|_| "true")];
            @if !hint.is_empty() { span.faint { (hint) } }
            (said(wrong))
        }
    }
}

/// A box to be ticked.
pub(in crate::http::console) fn tick(name: &str, label: &str, is_ticked: bool) -> Markup {
    html! {
        label.tick { input type="checkbox" name=(name) value="yes" checked[is_ticked]; (label) }
    }
}

/// Fields that belong together, and what the API said of all of them.
pub(in crate::http::console) fn group(
    (name, legend): (&str, &str),
    fields: &Markup,
    problem: Option<&Problem>,
) -> Markup {
    let wrong = problem.and_then(|problem| problem.about(name));
    html! {
        fieldset {
            legend { (legend) }
            (said(wrong))
            (fields)
        }
    }
}

/// A field for a text of many lines.
pub(in crate::http::console) fn area(
    (name, label): (&str, &str),
    value: &str,
    problem: Option<&Problem>,
) -> Markup {
    let wrong = problem.and_then(|problem| problem.about(name));
    html! {
        label { (label)
            // A browser drops the first line end.
            textarea name=(name) aria-invalid=[wrong.map(|_| "true")] { "\n" (value) }
            (said(wrong))
        }
    }
}

/// A field for a time, in UTC unless a script makes it the reader's.
pub(in crate::http::console) fn time_input(
    (name, label): (&str, &str),
    value: Option<&DateTime<Utc>>,
    problem: Option<&Problem>,
) -> Markup {
    let wrong = problem.and_then(|problem| problem.about(name));
    let text = value.map(|at| at.format("%Y-%m-%dT%H:%M").to_string());
    html! {
        label {
            span { (label) " " span.faint data-zone-of=(name) { "(UTC)" } }
            input type="datetime-local" id=(name) name=(name) value=[text]
                aria-invalid=[wrong.map(|_| "true")];
            (said(wrong))
        }
    }
}

/// A list to choose one of.
pub(in crate::http::console) fn choice(
    (name, label): (&str, &str),
    choices: &[Choice],
    chosen: &str,
) -> Markup {
    let is_there = choices.iter().any(|(value, _)| value == chosen);
    html! {
        label { (label)
            select name=(name) {
                @for (value, text) in choices {
                    option value=(value) selected[value == chosen] { (text) }
                }
                @if !is_there { option value=(chosen) selected { (chosen) } }
            }
        }
    }
}

fn said(wrong: Option<&str>) -> Markup {
    html! { @if let Some(wrong) = wrong { span.wrong { (wrong) } } }
}
