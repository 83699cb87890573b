//! The doctor's checks: what is wrong, what it is about, and the command that mends it.

use actix_web::HttpResponse;
use maud::html;
use serde::Deserialize;

use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Row, copied, table};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::operate::doctor::{State, Verdict};

/// What `GET /doctor` says.
#[derive(Deserialize)]
struct Examined {
    checks: Vec<Verdict>,
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let Examined { checks } = viewer.client.get("/doctor", &[]).await?;
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (failed, warned) = (count(State::Fail), count(State::Warn));
    // What is wrong comes first; the order of the checks stays otherwise.
    let order = [State::Fail, State::Warn, State::Ok];
    let sorted = order.iter().flat_map(|state| checks.iter().filter(|check| check.state == *state));
    let rows: Vec<Row> = sorted.map(row).collect();
    let content = html! {
        p.verdict.bad[failed > 0] role="status" {
            @match (failed, warned) {
                (0, 0) => { "All is well." }
                (0, warned) => { "It works. " (warned) " to look at." }
                (failed, warned) => { (failed) " wrong, " (warned) " more to look at." }
            }
        }
        p.faint { "This process has just checked. " (copied("taskd doctor")) " checks from where you are, and with "
            code { "--canary" } " sends an event through everything." }
        (table(&["Check", "State", "~What was found", "About", "What mends it"], &rows, "There is no check."))
    };
    Ok(Page { place: Place::Doctor, title: "Doctor", live: "" }.show(&viewer, &content))
}

fn row(check: &Verdict) -> Row {
    let (class, word) = match check.state {
        State::Ok => ("badge good", "ok"),
        State::Warn => ("badge warn", "look"),
        State::Fail => ("badge bad", "wrong"),
    };
    Row::new([
        html! { (check.name) },
        html! { span class=(class) { (word) } },
        html! { (check.found) },
        html! { (check.about.as_deref().unwrap_or_default()) },
        html! { @if let Some(command) = &check.mend { (copied(command)) } },
    ])
}
