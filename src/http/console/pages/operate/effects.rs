//! Effects: which run, which are paused or held, and changing that.

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde_json::json;

use crate::gates::EffectView;
use crate::http::console::ROOT;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, badge, number, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let effects: Listed<EffectView> = viewer.client.get("/effects", &[]).await?;
    let rows: Vec<Row> = effects.data.iter().map(|effect| row(&viewer, effect)).collect();
    let content = html! {
        p.faint {
            "An effect is one piece of side work. A pause is somebody's order; a breaker opens by itself when an \
             effect fails again and again, and lets a message through now and then to see whether it may close. \
             Meanwhile messages are parked, and waiting does not use up attempts."
        }
        (table(&["Effect", "State", "~Why", "#Parked", "Orders"], &rows, "There is no effect."))
    };
    Ok(Page { place: Place::Effects, title: "Effects", live: "gates" }.show(&viewer, &content))
}

fn row(viewer: &Viewer, effect: &EffectView) -> Row {
    let why = html! {
        @if let Some(by) = &effect.paused_by {
            p { "paused by " bdi { (by) }
                @if let Some(at) = &effect.paused_at { " since " (time(at)) }
                @if let Some(reason) = &effect.pause_reason { ": " (reason) } }
        }
        @if effect.breaker == "open" {
            p { "the breaker is open" @if let Some(at) = &effect.opened_at { " since " (time(at)) }
                @if let Some(error) = &effect.error { ": " (error) }
                @if let Some(at) = &effect.next_probe_at { ". The next message is let through at " (time(at)) } }
        }
        @if effect.is_unknown() { p { "this version doesn't have it; a worker that has it brings them back" } }
    };
    Row::named(
        format!("effect-{}", effect.name),
        [
            html! { strong { (effect.name) } },
            badge(&effect.state),
            why,
            html! { (number(effect.parked)) },
            html! { @if viewer.is_admin() && !effect.is_unknown() { (buttons(viewer, effect)) } },
        ],
    )
}

fn buttons(viewer: &Viewer, effect: &EffectView) -> Markup {
    let to = |order: &str| format!("{ROOT}/effects/{}/{order}", effect.name);
    html! {
        @if effect.state != "running" {
            form id={ "resume-" (effect.name) } method="post" action=(to("resume")) {
                (proof(viewer))
                button.main type="submit" aria-label={ "Resume " (effect.name) } { "Resume" }
            }
        }
        @if effect.paused_at.is_none() {
            form.actions id={ "pause-" (effect.name) } method="post" action=(to("pause")) {
                (proof(viewer))
                input type="text" name="reason" placeholder="reason (others see it)"
                    aria-label={ "Why " (effect.name) " is paused" };
                button type="submit" aria-label={ "Pause " (effect.name) } { "Pause" }
            }
        }
    }
}

pub(super) async fn order(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let (effect, order) = (viewer.segment("name"), viewer.segment("order"));
    let body = match order.as_str() {
        "pause" => json!({ "reason": form.optional("reason") }),
        "resume" => json!({}),
        _ => return Err(Problem::missing()),
    };
    let _: EffectView = viewer.client.post(&format!("/effects/{effect}/{order}"), &body).await?;
    let note = match order.as_str() {
        "pause" => "The effect is paused in all workers within two seconds.",
        _ => "The effect runs again. What was parked comes back within a second or two.",
    };
    Ok(viewer.go(&format!("{ROOT}/effects"), note))
}
