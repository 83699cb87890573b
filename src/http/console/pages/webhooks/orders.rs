//! What can be done with a webhook: ping it, enable and disable it, give it a new secret, send it
//! what it missed, and delete it.

use actix_web::HttpResponse;
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::deliveries::Filter;
use super::one::{find, form_address, page as page_of_webhook};
use super::{address, host};
use crate::http::console::ROOT;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{
    Choice, choice, copied, json as shown, number, time_input, toned,
};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::webhooks::orders::{PingView, Replayed, WebhookView, types};

/// The buttons of a webhook.
pub(super) fn buttons(viewer: &Viewer, webhook: &WebhookView) -> Markup {
    let button = if webhook.enabled { "Disable" } else { "Enable" };
    let rotating = match webhook.old_secret_until {
        Some(_) => {
            "Make a new secret? It was changed less than a day ago: receivers may have one before, which counts on with it."
        }
        None => "Make a new secret? Deliveries are signed with both for 24 hours.",
    };
    html! {
        div.actions {
            (ping_button(viewer, webhook, "Ping"))
            a.button href={ (address(webhook.id)) "/edit" } { "Edit" }
            form method="post" action=(form_address(webhook, "enabled")) {
                (proof(viewer))
                @if !webhook.enabled { input type="hidden" name="enabled" value="yes"; }
                button.main[!webhook.enabled] type="submit" { (button) }
            }
            form method="post" action=(form_address(webhook, "secret")) data-ask=(rotating) {
                (proof(viewer))
                input type="hidden" name="seen" value=(secret_seen(webhook));
                button type="submit" { "Rotate the secret" }
            }
            form method="post" action=(form_address(webhook, "delete"))
                data-ask="Delete this webhook? What was to be delivered to it is gone with it." {
                (proof(viewer))
                button.danger type="submit" { "Delete" }
            }
        }
    }
}

fn ping_button(viewer: &Viewer, webhook: &WebhookView, name: &str) -> Markup {
    html! {
        form method="post" action=(form_address(webhook, "ping")) {
            (proof(viewer))
            button type="submit" { (name) }
        }
    }
}

/// The forms that send a webhook what it missed.
pub(super) fn gap(viewer: &Viewer, webhook: &WebhookView) -> Markup {
    let mut all: Vec<Choice> = vec![(String::new(), "all".to_owned())];
    all.extend(types().into_iter().map(|name| (name.to_owned(), name.to_owned())));
    let day = Utc::now() - Duration::days(1);
    html! {
        h2 { "What it missed" }
        @if webhook.enabled {
            form.filter method="post" action=(form_address(webhook, "recover")) hx-morph-skip {
                (proof(viewer))
                (time_input(("recoverSince", "What was given up, of events since"), Some(&day), None))
                button type="submit" { "Send it again" }
            }
            form.filter method="post" action=(form_address(webhook, "replay")) hx-morph-skip {
                (proof(viewer))
                (time_input(("replaySince", "Past events it was not told, since"), Some(&day), None))
                (choice(("type", "Events"), &all, ""))
                button type="submit" { "Deliver them" }
            }
            p.faint { "No event is delivered to it anew that has arrived. Events are there until they are purged." }
        } @else {
            p.faint { "Enable it first." }
        }
    }
}

pub(super) async fn ping(viewer: Viewer, _form: Form) -> Result<HttpResponse, Problem> {
    let webhook = find(&viewer).await?;
    let path = format!("/webhooks/{}/ping", webhook.id);
    let ping: PingView = viewer.client.post(&path, &json!({})).await?;
    let content = html! {
        p {
            @if ping.succeeded { (toned("arrived", "good")) } @else { (toned("failed", "bad")) }
            @match ping.status {
                Some(status) => { " answered " (status) " after " }
                None => { " no answer after " }
            }
            (number(i64::try_from(ping.ms).unwrap_or(i64::MAX))) " ms"
        }
        @if let Some(error) = &ping.error { p.problem { (error) } }
        (answer(Some(&ping.answer)))
        p.faint { "A ping is signed as deliveries are, and counts for nothing: no retry, no failure. Its webhook-id was "
            (copied(&ping.event_id.to_string())) }
        div.actions {
            (ping_button(&viewer, &webhook, "Ping again"))
            a.button href=(address(webhook.id)) { "To the webhook" }
        }
    };
    let title = format!("Ping to {}", host(&webhook));
    Ok(Page { place: Place::Webhooks, title: &title, live: "" }.show(&viewer, &content))
}

/// What an endpoint has answered, as text.
pub(super) fn answer(text: Option<&str>) -> Markup {
    match text {
        Some("") => html! { p.faint { "The answer has no body." } },
        Some(text) => shown(&Value::from(text)),
        None => html! {},
    }
}

pub(super) async fn enable(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let enabled = form.has("enabled");
    let change = json!({ "enabled": enabled });
    viewer.client.patch(&format!("/webhooks/{id}"), None, &change).await?;
    let note = match enabled {
        true => "The webhook is enabled, and told of what happens from now on.",
        false => "The webhook is disabled: it is told nothing.",
    };
    Ok(viewer.go(&address(id), note))
}

/// Until when the secret before is valid: changes with each new secret.
fn secret_seen(webhook: &WebhookView) -> String {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    webhook.old_secret_until.map(text).unwrap_or_default()
}

pub(super) async fn rotate_secret(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let webhook = find(&viewer).await?;
    // A form that was sent twice makes one new secret.
    if secret_seen(&webhook) != form.text("seen") {
        let note = "The secret was changed a moment ago, so it is not changed again.";
        return Ok(viewer.go(&address(webhook.id), note));
    }
    let path = format!("/webhooks/{}/rotate-secret", webhook.id);
    let rotated: WebhookView = viewer.client.post(&path, &json!({})).await?;
    let note = "The secret is changed. Deliveries are signed with both for 24 hours.";
    let secret = rotated.secret.unwrap_or_default();
    Ok(viewer.go_with_secret(&address(webhook.id), note, &secret))
}

pub(super) async fn recover(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let order = json!({ "since": form.time("recoverSince") });
    send(viewer, "recover", &order).await
}

pub(super) async fn replay_history(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let types = match form.text("type") {
        "" => Value::Null,
        name => json!([name]),
    };
    let order = json!({ "since": form.time("replaySince"), "types": types });
    send(viewer, "replay-history", &order).await
}

/// Orders deliveries, and says how many. What is refused is said on the webhook's page.
async fn send(viewer: Viewer, order: &str, body: &Value) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let sent: Result<Replayed, Problem> =
        viewer.client.post(&format!("/webhooks/{id}/{order}"), body).await;
    match sent {
        Ok(Replayed { count: 0 }) => Ok(viewer.go(&address(id), "There is nothing to send.")),
        Ok(Replayed { count: 1 }) => Ok(viewer.go(&address(id), "One delivery is ordered.")),
        Ok(Replayed { count }) => {
            let count = number(i64::try_from(count).unwrap_or(i64::MAX));
            Ok(viewer.go(&address(id), &format!("{count} deliveries are ordered.")))
        }
        Err(problem) => page_of_webhook(viewer, &Filter::default(), Some(&problem)).await,
    }
}

pub(super) async fn delete(viewer: Viewer, _form: Form) -> Result<HttpResponse, Problem> {
    viewer.client.delete(&format!("/webhooks/{}", viewer.id("id")?), None).await?;
    Ok(viewer.go(&format!("{ROOT}/webhooks"), "The webhook is deleted."))
}
