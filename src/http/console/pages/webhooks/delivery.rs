//! A delivery: where it stands, and each of its tries.

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde_json::json;

use super::deliveries::{about, delivery_address, state};
use super::{address, host, one, orders};
use crate::domain::webhook::DeliveryState;
use crate::http::console::ROOT;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{copied, number, time, time_or};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::webhooks::orders::{AttemptView, DeliveryView, WebhookView};

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let path = path(&viewer)?;
    let (webhook, delivery): (WebhookView, DeliveryView) =
        futures_util::future::try_join(one::find(&viewer), viewer.client.get(&path, &[])).await?;
    let tries = delivery.history.as_deref().unwrap_or_default();
    let content = html! {
        (facts(&viewer, &webhook, &delivery))
        @if viewer.may_write() { (resend_button(&viewer, &webhook, &delivery)) }
        h2 { "Its tries" }
        @if tries.is_empty() { p.empty { "There was none yet." } }
        ol.story { @for attempt in tries { (tried(&viewer, attempt)) } }
    };
    let name = delivery.event_type.as_deref().unwrap_or("Delivery");
    let title = format!("{name} to {}", host(&webhook));
    Ok(Page { place: Place::Webhooks, title: &title, live: "webhooks" }.show(&viewer, &content))
}

/// The path of the delivery in the API.
fn path(viewer: &Viewer) -> Result<String, Problem> {
    Ok(format!("/webhooks/{}/deliveries/{}", viewer.id("id")?, viewer.id("delivery")?))
}

fn facts(viewer: &Viewer, webhook: &WebhookView, delivery: &DeliveryView) -> Markup {
    let event = delivery.event_id.to_string();
    let is_waiting = delivery.state == DeliveryState::Waiting.as_str();
    html! {
        dl.facts {
            dt { "State" }
            dd {
                (state(delivery))
                @if is_waiting { " " span.faint { "for an earlier event of the same task" } }
            }
            dt { "Webhook" } dd { a href=(address(webhook.id)) { bdi { (host(webhook)) } } }
            dt { "Event" }
            dd {
                @if viewer.is_operator() && delivery.event_type.is_some() {
                    a href={ (ROOT) "/events/" (event) } { (event) }
                } @else {
                    (copied(&event))
                }
                @if delivery.event_type.is_none() { " " span.faint { "was purged" } }
            }
            @if delivery.task_id.is_some() { dt { "About" } dd { (about(delivery)) } }
            dt { "Next try" } dd { (time_or(delivery.next_try_at.as_ref(), "none")) }
            dt { "Made" } dd { (time(&delivery.created_at)) }
            dt { "Settled" } dd { (time_or(delivery.settled_at.as_ref(), "not yet")) }
            dt { "Delivery" } dd { (copied(&delivery.id.to_string())) }
        }
    }
}

fn resend_button(viewer: &Viewer, webhook: &WebhookView, delivery: &DeliveryView) -> Markup {
    html! {
        @if delivery.event_type.is_none() {
            p.faint { "It can't be sent again: its event was purged." }
        } @else if !webhook.enabled {
            p.faint { "Enable the webhook to send it again." }
        } @else {
            div.actions {
                form method="post" action={ (delivery_address(webhook.id, delivery.id)) "/resend" } {
                    (proof(viewer))
                    button type="submit" { "Send it again" }
                }
            }
        }
    }
}

fn tried(viewer: &Viewer, attempt: &AttemptView) -> Markup {
    let class = if attempt.error.is_none() { "good" } else { "bad" };
    let head = attempt.status.map_or_else(|| "no answer".to_owned(), |it| format!("answered {it}"));
    let error = attempt.error.as_ref().filter(|error| **error != head);
    html! {
        li class=(class) data-row {
            strong { (head) }
            " " (time(&attempt.at))
            @if let Some(ms) = attempt.ms {
                span.faint { ", took " (number(i64::try_from(ms).unwrap_or(i64::MAX))) " ms" }
            }
            @if let Some(worker) = &attempt.worker { span.faint { " on " bdi { (worker) } } }
            @if let Some(error) = error { p { (error) } }
            @if viewer.may_write() {
                (orders::answer(attempt.answer.as_deref().filter(|_| attempt.status.is_some())))
            } @else {
                p.faint { "What was answered is for its owner and admins." }
            }
        }
    }
}

pub(super) async fn resend(viewer: Viewer, _form: Form) -> Result<HttpResponse, Problem> {
    let path = format!("{}/resend", path(&viewer)?);
    let sent: DeliveryView = viewer.client.post(&path, &json!({})).await?;
    let page = delivery_address(viewer.id("id")?, sent.id);
    Ok(viewer.go(&page, "It is sent again, with the same webhook-id."))
}
