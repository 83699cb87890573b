//! Replays, and how far each has come.

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde_json::Value;

use crate::dead_letters::Replay;
use crate::http::console::ROOT;
use crate::http::console::client::segment;
use crate::http::console::form::proof;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, badge, copied, json, number, table, time, time_or};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

pub(super) async fn list(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let replays: Listed<Replay> = viewer.client.get("/dead-letters/replays", &[]).await?;
    let rows: Vec<Row> = replays.data.iter().map(row).collect();
    let heads = ["Replay", "State", "#Letters", "#Done", "#Failed again", "By", "Ordered"];
    let content = table(&heads, &rows, "Nobody has replayed anything yet.");
    let page = Page { place: Place::DeadLetters, title: "Replays", live: "letters" };
    Ok(page.show(&viewer, &content))
}

fn row(replay: &Replay) -> Row {
    Row::named(
        format!("replay-{}", replay.id),
        [
            html! { a href=(address(replay)) { "replay " (replay.id) } },
            badge(&replay.state),
            html! { (number(replay.total)) },
            html! { (number(replay.done)) },
            html! { (number(replay.failed_again)) },
            html! { bdi { (replay.created_by) } },
            time(&replay.created_at),
        ],
    )
}

fn address(replay: &Replay) -> String {
    format!("{ROOT}/dead-letters/replays/{}", replay.id)
}

/// A replay in one line.
pub(super) fn line(replay: &Replay) -> Markup {
    html! {
        a href=(address(replay)) { "Replay " (replay.id) } " " (badge(&replay.state)) " "
        (number(settled(replay))) " of " (number(replay.total)) ", by " bdi { (replay.created_by) }
    }
}

/// How many letters have come to an end.
fn settled(replay: &Replay) -> i64 {
    replay.done + replay.failed_again + replay.already_done + replay.put_back
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let replay: Replay = viewer.client.get(&format!("/dead-letters/replays/{id}"), &[]).await?;
    let idle = replay.ended_at.is_none() && !replay.carried_out;
    let content = html! {
        p {
            (badge(&replay.state)) " "
            @if let Some(reason) = &replay.reason { (reason) }
        }
        @if idle && matches!(&*replay.state, "canary" | "running") {
            p.problem { "No worker carries it out at this moment. Start " (copied("taskd work")) "." }
        }
        progress aria-label="Letters that have come to an end" max=(replay.total) value=(settled(&replay)) {}
        (counts(&replay))
        @if viewer.is_admin() {
            div.actions {
                @if replay.ended_at.is_none() && replay.state != "stopping" && replay.state != "stopped" {
                    (order(&viewer, &replay, "stop", "Stop"))
                }
                @if replay.state == "stopped" && replay.waiting > 0 {
                    (order(&viewer, &replay, "resume", "Go on"))
                }
            }
        }
        h2 { "The order" }
        (plan(&replay))
    };
    let title = format!("Replay {id}");
    Ok(Page { place: Place::DeadLetters, title: &title, live: "letters,work" }
        .show(&viewer, &content))
}

fn counts(replay: &Replay) -> Markup {
    let counts = [
        ("Letters", replay.total),
        ("Wait", replay.waiting),
        ("Sent, effects not finished", replay.sent),
        ("Done", replay.done),
        ("Were done already", replay.already_done),
        ("Failed again", replay.failed_again),
        ("Dealt with by others", replay.put_back),
    ];
    html! {
        h2 { "How far it has come" }
        ul.cards {
            @for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                li.card { h3 { (name) } span.figure { (number(count)) } }
            }
        }
    }
}

fn plan(replay: &Replay) -> Markup {
    html! {
        dl.facts {
            dt { "Ordered" } dd { (time(&replay.created_at)) " by " bdi { (replay.created_by) } }
            dt { "Ended" } dd { (time_or(replay.ended_at.as_ref(), "not yet")) }
            dt { "Canary" } dd { (canary(replay.canary)) }
            dt { "Letters a second" }
            dd { @match replay.rate { Some(rate) => { (rate) } None => { "as fast as they go" } } }
            dt { "Stops after" }
            dd { @match replay.max_failures { Some(most) => { (most) " that failed again" } None => { "no number of failures" } } }
            dt { "Letters" } dd { (selection(&replay.selection)) }
        }
    }
}

fn canary(letters: i32) -> String {
    match letters {
        0 => "none: all letters may go at once".to_owned(),
        1 => "one letter, which must be done before the others go".to_owned(),
        letters => format!("{letters} letters, which must be done before the others go"),
    }
}

/// Which letters were chosen: those of a cause lead to its page.
fn selection(chosen: &Value) -> Markup {
    let only = chosen.as_object().filter(|chosen| chosen.len() == 1);
    match only.and_then(|chosen| chosen.get("group")).and_then(Value::as_str) {
        Some(group) => html! {
            "all of the cause "
            a href={ (ROOT) "/dead-letters/groups/" (segment(group)) } { (group) }
        },
        None => json(chosen),
    }
}

fn order(viewer: &Viewer, replay: &Replay, order: &str, name: &str) -> Markup {
    html! {
        form method="post" action={ (address(replay)) "/" (order) } {
            (proof(viewer))
            input type="hidden" name="order" value=(order);
            button type="submit" { (name) }
        }
    }
}
