//! The one screen for the pager: is it working, what fails, and what to do about it.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::letters;
use super::operate::Demo;
use crate::http::console::ROOT;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Line, Row, badge, chart, copied, number, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::operate::presence::ProcessEntry;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("", web::get().to(show)).route("/", web::get().to(show));
}

/// What `GET /overview` says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    working: bool,
    summary: String,
    problems: Vec<Trouble>,
    /// `None` while the database is away, as the letters are.
    outbox: Option<Outbox>,
    queues: Vec<Queue>,
    effects: Vec<Effect>,
    dead_letters: Option<Letters>,
    processes: Vec<ProcessEntry>,
    history: Vec<Minute>,
}

/// What keeps an effect from running, if something does.
#[derive(Deserialize)]
struct Effect {
    name: String,
    state: String,
    parked: i64,
}

/// The open dead letters.
#[derive(Deserialize)]
struct Letters {
    open: i64,
    causes: i64,
}

/// Something that needs somebody.
#[derive(Deserialize)]
struct Trouble {
    kind: String,
    what: String,
    since: Option<DateTime<Utc>>,
    growing: Option<bool>,
    count: Option<i64>,
    press: String,
    about: About,
}

/// What a trouble is about.
#[derive(Deserialize)]
struct About {
    r#type: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outbox {
    unpublished: i64,
    oldest_age_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    role: String,
    messages: i64,
    consumers: Option<i64>,
}

/// A minute of the last hour.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Minute {
    minute: DateTime<Utc>,
    created: i64,
    published: i64,
    processed: i64,
    retried: i64,
    dead: i64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
}

impl Overview {
    /// How many of the minutes are from before the history: nothing was done in them, and none of
    /// the processes was there.
    fn minutes_before_history(&self) -> usize {
        let first = self.processes.iter().map(|process| process.started_at).min();
        let is_known = |minute: &Minute| {
            let counts =
                [minute.created, minute.published, minute.processed, minute.retried, minute.dead];
            let end = minute.minute + TimeDelta::minutes(1);
            counts.iter().any(|count| *count > 0) || first.is_some_and(|first| first < end)
        };
        self.history.iter().position(is_known).unwrap_or(self.history.len())
    }
}

/// Members have no overview: they get their tasks.
async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    if !viewer.is_operator() {
        return Ok(viewer.go(&format!("{ROOT}/tasks"), ""));
    }
    let overview: Overview = viewer.client.get("/overview", &[("minutes", "60")]).await?;
    let demo: Option<Demo> = match viewer.in_demo {
        // The overview says what is wrong also while this can't be had.
        true => viewer.client.get("/demo", &[]).await.ok(),
        false => None,
    };
    let unknown = overview.minutes_before_history();
    let content = html! {
        @if viewer.in_demo {
            p.hint { "This is a demo: nobody's data is in it. Break it on the page "
                a href={ (ROOT) "/demo" } { "Break it" } ", and see here what that does." }
        }
        p.verdict.bad[!overview.working].warn[overview.working && !overview.problems.is_empty()]
            role="status" { (capital(&overview.summary)) }
        (troubles(&overview.problems, demo.as_ref()))
        h2 { "The last hour, by minute" }
        @if let Some(first) = overview.history.get(unknown).filter(|_| unknown > 0) {
            p.faint { "The lines begin at " (time(&first.minute)) ": nothing is known of the time before." }
        }
        ul.cards { (lines(&overview.history, unknown)) }
        h2 { "Now" }
        ul.cards { (figures(&overview)) }
    };
    let page = Page {
        place: Place::Overview,
        title: "Overview",
        live: "events,work,letters,gates,processes",
    };
    Ok(page.show(&viewer, &content))
}

/// A sentence as it begins a line.
fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

fn troubles(troubles: &[Trouble], demo: Option<&Demo>) -> Markup {
    let row = |trouble: &Trouble| {
        let what = match page_of(&trouble.about) {
            Some(page) => html! { a href=(page) { (trouble.what) } },
            None => html! { (trouble.what) },
        };
        let fault = demo.and_then(|demo| demo.faults.behind(&trouble.kind, &trouble.what));
        Row::new([
            what,
            html! { @if let Some(since) = &trouble.since { (time(since)) } },
            html! { @if let Some(count) = trouble.count { (number(count)) } },
            html! { @if trouble.growing == Some(true) { (badge("growing")) } },
            html! { @if let Some(fault) = fault { p { (fault) } } (advice(&trouble.press)) },
        ])
    };
    let rows: Vec<Row> = troubles.iter().map(row).collect();
    html! {
        @if !rows.is_empty() {
            h2 { "What needs somebody" }
            (table(&["~What", "Since", "#How many", "Growing", "~What to do"], &rows, ""))
        }
    }
}

/// What to do, with the command apart, to be copied.
fn advice(press: &str) -> Markup {
    const COMMAND: &str = ": taskd ";
    match press.split_once(COMMAND) {
        Some((words, command)) => html! { (words) ": " (copied(&format!("taskd {command}"))) },
        None => html! { (press) },
    }
}

/// The page about it.
fn page_of(about: &About) -> Option<String> {
    let page = match about.r#type.as_str() {
        "group" => return Some(letters::group_address(&about.name)),
        "effect" => "/effects",
        "process" => "/processes",
        "outbox" => "/events?state=unpublished",
        "queue" => "/events?state=queued",
        "database" | "broker" => "/doctor",
        _ => return None,
    };
    Some(format!("{ROOT}{page}"))
}

fn lines(history: &[Minute], unknown: usize) -> Markup {
    let line = |name, unit, is_bad, value: fn(&Minute) -> f64| {
        let values = history.iter().map(value).collect();
        chart(&Line { name, unit, is_bad, values, unknown })
    };
    html! {
        (line("Created", "a minute", false, |minute| minute.created as f64))
        (line("Published", "a minute", false, |minute| minute.published as f64))
        (line("Processed", "a minute", false, |minute| minute.processed as f64))
        (line("Retried", "a minute", true, |minute| minute.retried as f64))
        (line("Dead", "a minute", true, |minute| minute.dead as f64))
        (line("From commit to effect, median", "ms", false, |minute| minute.p50_ms.unwrap_or_default()))
        (line("95 % within", "ms", false, |minute| minute.p95_ms.unwrap_or_default()))
    }
}

fn figures(overview: &Overview) -> Markup {
    let held = |effect: &&Effect| effect.state != "running";
    let alive = overview.processes.iter().filter(|process| process.state != "silent").count();
    html! {
        @if let Some(outbox) = &overview.outbox {
            li.card {
                h3 { "Outbox" }
                a.figure href={ (ROOT) "/events?state=unpublished" } { (number(outbox.unpublished)) }
                p.faint { "not published yet"
                    @if let Some(age) = outbox.oldest_age_seconds { ", the oldest for " (age.round()) " s" } }
            }
        }
        @if let Some(letters) = &overview.dead_letters {
            li.card {
                h3 { "Dead letters" }
                a.figure href={ (ROOT) "/dead-letters" } { (number(letters.open)) }
                p.faint { "open, of " (number(letters.causes)) " causes" }
            }
        }
        @for queue in &overview.queues {
            li.card {
                h3 { (queue.role) " queue" }
                span.figure { (number(queue.messages)) }
                p.faint { (queue.name)
                    @if let Some(consumers) = queue.consumers { ", " (consumers) " consumers" } }
            }
        }
        li.card {
            h3 { "Processes" }
            a.figure href={ (ROOT) "/processes" } { (alive) }
            p.faint { "running" }
        }
        @for effect in overview.effects.iter().filter(held) {
            li.card {
                h3 { (effect.name) }
                a href={ (ROOT) "/effects" } { (badge(&effect.state)) }
                p.faint { (number(effect.parked)) " parked" }
            }
        }
    }
}
