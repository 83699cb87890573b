//! An event: its story from the commit to its effects, and why it is not done.

use actix_web::HttpResponse;
use actix_web::web::{Data, ServiceConfig};
use maud::{Markup, html};

use crate::http::ConsoleSettings;
use crate::http::console::ROOT;
use crate::http::console::addresses::page;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Row, badge, copied, json, table, time, tone};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::http::dto::{EffectView, EventDetailView, StoryLineView};

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(page("/events/{id}", show));
}

async fn show(viewer: Viewer, settings: Data<ConsoleSettings>) -> Result<HttpResponse, Problem> {
    let event: EventDetailView =
        viewer.client.get(&format!("/events/{}", viewer.segment("id")), &[]).await?;
    let content = html! {
        p { (badge(&event.state))
            @if let Some(why) = &event.why_not_done { " " strong { (why) } } }
        @if let Some(letter) = &event.dead_letter_id {
            p { a.button.main href={ (ROOT) "/dead-letters/letters/" (letter) } { "To its dead letter" } }
        }
        (facts(&event, settings.trace_url.as_deref()))
        h2 { "Its story" }
        ol.story { @for line in &event.story { (step(line)) } }
        h2 { "Its effects" }
        (effects(&event))
        h2 { "Its payload" }
        (json(&event.payload))
    };
    let title = format!("{} of {} {}", event.event_type, event.subject.kind, event.subject.id);
    Ok(Page { place: Place::Events, title: &title, live: "work" }.show(&viewer, &content))
}

fn facts(event: &EventDetailView, traces: Option<&str>) -> Markup {
    html! {
        dl.facts {
            dt { "About" }
            dd {
                @match event.task_id {
                    Some(task) => { a href={ (ROOT) "/tasks/" (task) } { "task " (task) } }
                    None => { (event.subject.kind) " " (event.subject.id) }
                }
                ", version " (event.subject.version)
            }
            @if let Some(actor) = &event.actor { dt { "By" } dd { (actor.to_string()) } }
            dt { "Event" } dd { (copied(&event.event_id)) }
            @if let Some(cause) = &event.causation_id {
                dt { "Follows from" } dd { a href={ (ROOT) "/events/" (cause) } { (cause) } }
            }
            @if let Some(request) = &event.request_id { dt { "Request" } dd { (copied(request)) } }
            @if let Some(trace) = &event.trace_id {
                dt { "Trace" }
                dd {
                    (copied(trace))
                    @if let Some(page) = traces { " " a href=(page.replace("{traceId}", trace)) { "look at it" } }
                }
            }
        }
    }
}

fn step(line: &StoryLineView) -> Markup {
    let class = match line.outcome.as_str() {
        "written" | "published" => "good",
        outcome => tone(outcome),
    };
    html! {
        li class=(class) data-row {
            strong { (line.outcome) }
            @if let Some(effect) = &line.effect {
                " " (effect) @if let Some(target) = &line.target { "/" (target) }
            }
            @if let Some(attempt) = line.attempt { ", attempt " (attempt) }
            " " (time(&line.at))
            @if let Some(worker) = &line.worker { span.faint { " on " bdi { (worker) } } }
            @if let Some(by) = &line.by { span.faint { " by " bdi { (by) } } }
            @if let Some(message) = &line.message { p { (message) } }
            @if let Some(next) = &line.next_try_at { p.faint { "next try " (time(next)) } }
            @if let Some(letter) = &line.dead_letter_id {
                p { a href={ (ROOT) "/dead-letters/letters/" (letter) } { "dead letter" } }
            }
            (why(&line.outcome))
        }
    }
}

/// What a step stands for, for who has not seen an outbox before.
fn why(outcome: &str) -> Markup {
    let text = match outcome {
        "written" => {
            "The change and this event were committed together, so neither is without the other."
        }
        "published" => {
            "The broker has confirmed it. Until then the outbox keeps it, and sends it again. \
             The mark is written after that, so a quick effect may be done before it."
        }
        "done" => "The effect is on record, so a second delivery finds it and does nothing.",
        "failed" => "The message waits in a delay queue, and counts its attempts itself.",
        "parked" => "It waits as a row in the database, without counting an attempt.",
        "dead" => "It is kept with its history until somebody replays or discards it.",
        _ => return html! {},
    };
    html! { details { summary.faint { "why" } p.faint { (text) } } }
}

fn effects(event: &EventDetailView) -> Markup {
    let row = |effect: &EffectView| {
        let worker = html! {
            @if let Some(worker) = &effect.worker { bdi { (worker) } }
            @if let Some(until) = &effect.claimed_until { span.faint { " until " (time(until)) } }
        };
        Row::new([
            html! { (effect.effect) @if let Some(target) = &effect.target { "/" (target) } },
            badge(&effect.state),
            worker,
            time(&effect.touched_at),
            html! { (effect.note.as_deref().unwrap_or_default()) },
        ])
    };
    let rows: Vec<Row> = event.effects.iter().map(row).collect();
    let heads = ["Effect", "State", "Worker", "Changed", "~Note"];
    table(&heads, &rows, "No worker has begun one yet.")
}
