//! A webhook: how it is set, how it fares, what can be done, and what was delivered to it.

use actix_web::http::StatusCode;
use actix_web::web::Query;
use actix_web::{HttpResponse, ResponseError};
use maud::{Markup, html};

use super::deliveries::{self, Filter};
use super::{address, host, orders, state, types};
use crate::domain::webhook::DisabledReason;
use crate::http::console::layout::{Page, Place};
use crate::http::console::pages::tasks::Names;
use crate::http::console::parts::{copied, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::webhooks::orders::WebhookView;

pub(super) async fn show(viewer: Viewer, filter: Query<Filter>) -> Result<HttpResponse, Problem> {
    page(viewer, &filter, None).await
}

/// The webhook that the address names.
pub(super) async fn find(viewer: &Viewer) -> Result<WebhookView, Problem> {
    viewer.client.get(&format!("/webhooks/{}", viewer.id("id")?), &[]).await
}

/// The page, with what came of an order if it was refused.
pub(super) async fn page(
    mut viewer: Viewer,
    filter: &Filter,
    problem: Option<&Problem>,
) -> Result<HttpResponse, Problem> {
    let (webhook, names, deliveries) = futures_util::future::try_join3(
        find(&viewer),
        Names::load(&viewer),
        deliveries::load(&viewer, filter),
    )
    .await?;
    let secret = viewer.secret(&address(webhook.id));
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        @if let Some(secret) = &secret { (shown_once(secret)) }
        (trouble(&webhook))
        (facts(&webhook, &names))
        @if viewer.may_write() { (orders::buttons(&viewer, &webhook)) }
        h2 { "Deliveries" }
        (deliveries::list(&webhook, filter, &deliveries))
        @if viewer.may_write() { (orders::gap(&viewer, &webhook)) }
    };
    let status = problem.map_or(StatusCode::OK, ResponseError::status_code);
    let title = format!("Webhook to {}", host(&webhook));
    // A page that fetched itself would lose what it shows once, and what was refused.
    let live = if secret.is_some() || problem.is_some() { "" } else { "webhooks" };
    Ok(Page { place: Place::Webhooks, title: &title, live }.show_as(status, &viewer, &content))
}

fn shown_once(secret: &str) -> Markup {
    html! {
        div.note role="status" {
            p { "The secret that deliveries are signed with. Keep it: it is not shown again." }
            p { (copied(secret)) }
            p {
                "It is for the libraries of " a href="https://www.standardwebhooks.com" rel="noreferrer" { "Standard Webhooks" }
                ". A receiver that checks no signature believes everybody."
            }
        }
    }
}

/// What is wrong with a webhook, and what to do about it.
fn trouble(webhook: &WebhookView) -> Markup {
    let since = html! {
        @if let Some(since) = &webhook.failing_since { "No delivery has succeeded since " (time(since)) ". " }
    };
    let reason =
        |reason: DisabledReason| webhook.disabled_reason.as_deref() == Some(reason.as_str());
    let after = "Mend the receiver, ping it, and enable it. Then send again what it missed.";
    html! {
        @if reason(DisabledReason::Gone) {
            p.problem { "It answered 410, which says that it wants no more, and is disabled. " (after) }
        } @else if reason(DisabledReason::Failing) {
            p.problem { (since) "After five days of that it was disabled. " (after) }
        } @else if !webhook.enabled {
            p.hint { "Somebody has disabled it: it is told nothing. Once it is enabled, it can be sent what it missed." }
        } @else if webhook.failing_since.is_some() {
            p.problem {
                (since) "Its deliveries below say why, and a ping says what it answers now. Its owner is told \
                by mail after a day, and after five days it is disabled."
            }
        }
    }
}

fn facts(webhook: &WebhookView, names: &Names) -> Markup {
    let filter = webhook.filter.as_object().filter(|members| !members.is_empty());
    html! {
        dl.facts {
            dt { "State" } dd { (state(webhook)) }
            dt { "URL" } dd { bdi { (webhook.url) } }
            @if let Some(description) = &webhook.description {
                dt { "For what" } dd { bdi { (description) } }
            }
            dt { "Whose" } dd {
                (names.user(webhook.user_id))
                @if webhook.user_id.is_none() { span.faint { ": it is told of every task" } }
            }
            dt { "Events" } dd { (types(webhook)) }
            dt { "Only of" }
            dd { @match filter {
                Some(_) => { "tasks with " code { (webhook.filter) } }
                None => { span.faint { "all tasks" } }
            } }
            dt { "Order" }
            dd { @if webhook.ordered { "kept for each task" } @else { span.faint { "not kept" } } }
            dt { "At most" }
            dd { (limit(webhook)) }
            dt { "Tries again" }
            dd { @if webhook.retry_delays.is_empty() { "never" } @else { "after " (webhook.retry_delays.join(", ")) } }
            @if let Some(until) = &webhook.old_secret_until {
                dt { "Secret" } dd { "signed with the one before, too, until " (time(until)) }
            }
            @if let Some(since) = &webhook.failing_since { dt { "Failing since" } dd { (time(since)) } }
            dt { "Made" } dd { (time(&webhook.created_at)) }
            dt { "Changed" } dd { (time(&webhook.updated_at)) }
            dt { "Id" } dd { (copied(&webhook.id.to_string())) }
        }
    }
}

fn limit(webhook: &WebhookView) -> Markup {
    html! {
        @match webhook.rate.as_str() {
            Some(rate) => { (rate) }
            None if webhook.rate.is_null() => { span.faint { "as many as it takes" } }
            None => { (webhook.rate) " a second" }
        }
    }
}

/// The address that a form about this webhook is sent to.
pub(super) fn form_address(webhook: &WebhookView, order: &str) -> String {
    format!("{}/{order}", address(webhook.id))
}
