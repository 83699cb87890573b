//! Break it: what a demo breaks on purpose, the promise at stake, and the figures that show that it
//! holds.

mod faults;
mod orders;

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::console::ROOT;
use crate::http::console::form::proof;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Row, number, table};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use faults::{Faults, title};
pub(super) use orders::order;

/// What `GET /demo` says.
#[derive(Deserialize)]
pub(in crate::http::console::pages) struct Demo {
    pub(in crate::http::console::pages) faults: Faults,
    trickle: Trickle,
    proof: Proof,
    promises: Vec<Stake>,
}

#[derive(Deserialize)]
struct Trickle {
    running: bool,
    resting: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    written: i64,
    events: i64,
    effects_due: i64,
    effects_done: i64,
    effects_dead: i64,
    waiting: i64,
    settled: bool,
    repeated: i64,
    repeated_in_window: i64,
    mails_sent: i64,
    mails_distinct: i64,
    dead_letters: i64,
    duplicates_published: i64,
    garbage_published: i64,
}

#[derive(Deserialize)]
struct Stake {
    fault: String,
    promise: Promise,
    model: Option<Model>,
    window: String,
}

#[derive(Deserialize)]
struct Promise {
    number: i64,
    text: String,
}

#[derive(Deserialize)]
struct Model {
    property: String,
    test: String,
    states: i64,
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let demo: Demo = viewer.client.get("/demo", &[]).await?;
    let rows: Vec<Row> = demo.promises.iter().map(|stake| row(&viewer, &demo, stake)).collect();
    let content = html! {
        (verdict(&demo.proof))
        h2 { "The figures" }
        ul.cards { (figures(&demo.proof)) }
        p.faint { "Of the last hour, by what the database has; mails by what was handed to the mailer." }
        @if viewer.is_admin() { (story(&viewer, &demo.trickle)) }
        (table(&["Break it", "~The promise at stake", "~What may still happen", "~The model"], &rows, "There is no fault."))
    };
    let page = Page { place: Place::Demo, title: "Break it", live: "events,work,letters,gates" };
    Ok(page.show(&viewer, &content))
}

/// Whether the promises hold, by the figures alone.
fn verdict(proof: &Proof) -> Markup {
    let holds = proof.written == proof.events && proof.repeated == proof.repeated_in_window;
    html! {
        p.verdict.bad[!holds] role="status" {
            strong { (if holds { "No change is lost, and nothing was done twice. " } else { "Something is lost or was done twice. " }) }
            (number(proof.written)) " changes, " (number(proof.events)) " events; "
            @if proof.settled {
                "each effect is done, or is with a dead letter."
            } @else {
                (number(proof.waiting)) " still to come."
            }
        }
    }
}

fn figures(proof: &Proof) -> Markup {
    let card = |name: &str, figure: i64, more: String| {
        html! {
            li.card { h3 { (name) } p.figure { (number(figure)) } @if !more.is_empty() { p.faint { (more) } } }
        }
    };
    let due = format!("of {} due", number(proof.effects_due));
    let dead = format!("{} effects are with dead letters", number(proof.effects_dead));
    let repeated = match proof.repeated_in_window {
        0 => String::new(),
        count => format!("{} within the window", number(count)),
    };
    let mails = format!("of {} different ones", number(proof.mails_distinct));
    html! {
        (card("Changes written", proof.written, String::new()))
        (card("Their events in the outbox", proof.events, String::new()))
        (card("Effects done", proof.effects_done, due))
        (card("Waiting", proof.waiting, String::new()))
        (card("Repeated", proof.repeated, repeated))
        (card("Mails sent", proof.mails_sent, mails))
        (card("Open dead letters", proof.dead_letters, dead))
        (card("Copies published", proof.duplicates_published, "since the start".to_owned()))
        (card("Garbage published", proof.garbage_published, "since the start".to_owned()))
    }
}

/// Whether the people go on, and the way to mend everything.
fn story(viewer: &Viewer, trickle: &Trickle) -> Markup {
    html! {
        div.actions {
            @match trickle.running {
                true => { (button(viewer, "trickle/pause", "Stop the made-up changes")) }
                false => { (button(viewer, "trickle/resume", "Go on with the made-up changes")) }
            }
            form method="post" action=(to("everything/mend")) {
                (proof(viewer))
                button.main type="submit" { "Mend everything" }
            }
        }
        @if trickle.resting { p.faint { "The made-up people wait until less is waiting." } }
    }
}

fn row(viewer: &Viewer, demo: &Demo, stake: &Stake) -> Row {
    let model = html! {
        @match &stake.model {
            Some(model) => {
                p { (model.property) "." }
                p.faint { "Checked in each of " (number(model.states)) " states: " code { (model.test) } }
            }
            None => { span.faint { "It has no messages of others: they have no effects." } }
        }
    };
    Row::named(
        format!("fault-{}", stake.fault),
        [
            fault(viewer, demo, &stake.fault),
            html! { (stake.promise.number) ". " (stake.promise.text) },
            html! { (stake.window) },
            model,
        ],
    )
}

/// A fault: what it is, whether it is there, and the buttons for it.
fn fault(viewer: &Viewer, demo: &Demo, name: &str) -> Markup {
    let (title, state) = (title(name), demo.faults.state(name));
    html! {
        p {
            strong { (title) } " "
            @if let Some(state) = &state { (state) " " }
            @if let Some(page) = watched(name) {
                a href={ (ROOT) (page) } aria-label={ "see what waits: " (title) } { "see what waits" }
            }
        }
        @if viewer.is_admin() {
            @match (name, state.is_some()) {
                ("stop", false) => { (button(viewer, "worker/stop", "Stop")) }
                ("stop", true) => { (button(viewer, "worker/start", "Start")) }
                ("freeze", false) => { (button(viewer, "worker/freeze", "Freeze the next")) }
                ("hold", false) => { (button(viewer, "broker/hold", "Hold")) }
                ("hold", true) => { (button(viewer, "broker/release", "Release")) }
                ("mail", false) => { (with_number(viewer, ("mail/fail", "failing", "percent", "50"), "Fail")) }
                ("mailForGood", false) => {
                    (with_number(viewer, ("mail/refuse", "failing", "percent", "100"), "Refuse"))
                }
                ("mail" | "mailForGood", true) => { (button(viewer, "mail/mend", "Mend")) }
                ("duplicates", _) => {
                    (with_number(viewer, ("duplicates/publish", "count", "how many", "20"), "Publish"))
                }
                ("garbage", _) => {
                    (with_number(viewer, ("garbage/publish", "count", "how many", "10"), "Publish"))
                }
                _ => {}
            }
        }
    }
}

/// The page on which a fault is to be seen best.
fn watched(name: &str) -> Option<&'static str> {
    Some(match name {
        "stop" => "/events?state=queued",
        "hold" => "/events?state=unpublished",
        "mail" => "/events?state=retrying",
        "freeze" => "/events?state=parked",
        "mailForGood" | "garbage" => "/dead-letters",
        _ => return None,
    })
}

fn to(order: &str) -> String {
    format!("{ROOT}/demo/{order}")
}

/// Tells a form from the others, so that a refresh takes none for another.
fn form_id(order: &str) -> String {
    format!("form-{}", order.replace('/', "-"))
}

fn button(viewer: &Viewer, order: &str, label: &str) -> Markup {
    html! {
        form id=(form_id(order)) method="post" action=(to(order)) { (proof(viewer)) button type="submit" { (label) } }
    }
}

/// A button with a number beside it: the order, the field's name and label, and what is in it.
fn with_number(
    viewer: &Viewer,
    (order, name, label, value): (&str, &str, &str, &str),
    press: &str,
) -> Markup {
    html! {
        form.actions id=(form_id(order)) method="post" action=(to(order)) {
            (proof(viewer))
            label { (label) input type="number" name=(name) value=(value) min="0" max="100" required; }
            button type="submit" { (press) }
        }
    }
}
