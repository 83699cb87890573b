//! The deliveries of a webhook, as its page lists them.

use maud::{Markup, html};
use serde::Deserialize;

use super::address;
use crate::domain::webhook::DeliveryState;
use crate::http::console::ROOT;
use crate::http::console::parts::{
    Choice, Listed, Row, badge, choice, pager, table, time, time_or, toned,
};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::webhooks::orders::{DeliveryView, WebhookView};

/// What the reader has asked for: the parameters of `GET /webhooks/{id}/deliveries`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    state: String,
    cursor: String,
}

pub(super) async fn load(
    viewer: &Viewer,
    filter: &Filter,
) -> Result<Listed<DeliveryView>, Problem> {
    let path = format!("/webhooks/{}/deliveries", viewer.id("id")?);
    let query = [("state", &*filter.state), ("limit", "50"), ("cursor", &filter.cursor)];
    viewer.client.get(&path, &query).await
}

pub(super) fn list(webhook: &WebhookView, filter: &Filter, found: &Listed<DeliveryView>) -> Markup {
    let rows: Vec<Row> = found.data.iter().map(|delivery| row(webhook.id, delivery)).collect();
    let mut states: Vec<Choice> = vec![(String::new(), "any".to_owned())];
    let name = |state: DeliveryState| (state.as_str().to_owned(), state.as_str().to_owned());
    states.extend(DeliveryState::ALL.map(name));
    let page = address(webhook.id);
    let without = match filter.state.as_str() {
        "" => "Nothing yet. Change a task that it is told of, and this page has the delivery.",
        _ => "No delivery is like this.",
    };
    html! {
        form.filter method="get" action=(page) hx-morph-skip {
            (choice(("state", "State"), &states, &filter.state))
            button type="submit" { "Show" }
        }
        (table(&["Event", "State", "About", "#Tries", "~Last answer", "Next try", "Made"], &rows, without))
        (pager(&page, &[("state", &filter.state)], &filter.cursor, found.next_cursor.as_deref()))
    }
}

fn row(webhook: i64, delivery: &DeliveryView) -> Row {
    let name = delivery.event_type.as_deref().unwrap_or("an event that was purged");
    let last = html! {
        @match (&delivery.last_error, delivery.last_status) {
            (Some(error), _) => { span.clip { (error) } }
            (None, Some(status)) => { (status) }
            (None, None) => {}
        }
    };
    Row::named(
        format!("delivery-{}", delivery.id),
        [
            html! { a href=(delivery_address(webhook, delivery.id)) { (name) } },
            state(delivery),
            about(delivery),
            html! { (delivery.attempts) },
            last,
            time_or(delivery.next_try_at.as_ref(), ""),
            time(&delivery.created_at),
        ],
    )
}

/// The address of a delivery's page.
pub(super) fn delivery_address(webhook: i64, delivery: i64) -> String {
    format!("{}/deliveries/{delivery}", address(webhook))
}

/// Where a delivery stands. One that failed is tried no more.
pub(super) fn state(delivery: &DeliveryView) -> Markup {
    match delivery.state == DeliveryState::Failed.as_str() {
        true => toned(&delivery.state, "bad"),
        false => badge(&delivery.state),
    }
}

/// The task that a delivery is about.
pub(super) fn about(delivery: &DeliveryView) -> Markup {
    html! {
        @if let Some(task) = delivery.task_id {
            a href={ (ROOT) "/tasks/" (task) } { "task " (task) }
            @if let Some(version) = delivery.version { ", version " (version) }
        }
    }
}
