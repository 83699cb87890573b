//! The list of webhooks.

use actix_web::HttpResponse;
use actix_web::web::Query;
use maud::{Markup, html};
use serde::Deserialize;
use url::Url;

use super::{address, host, state, types};
use crate::domain::webhook::DisabledReason;
use crate::http::console::ROOT;
use crate::http::console::layout::{Page, Place};
use crate::http::console::pages::tasks::Names;
use crate::http::console::parts::{Listed, Row, pager, table, time_or};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::webhooks::orders::WebhookView;

/// Where the list goes on.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Position {
    cursor: String,
}

pub(super) async fn show(viewer: Viewer, from: Query<Position>) -> Result<HttpResponse, Problem> {
    let query = [("limit", "50"), ("cursor", &*from.cursor)];
    let (webhooks, names): (Listed<WebhookView>, Names) = futures_util::future::try_join(
        viewer.client.get("/webhooks", &query),
        Names::load(&viewer),
    )
    .await?;
    let rows: Vec<Row> = webhooks.data.iter().map(|webhook| row(&names, webhook)).collect();
    let path = format!("{ROOT}/webhooks");
    let content = html! {
        @if rows.is_empty() && from.cursor.is_empty() {
            (first(&viewer))
        } @else {
            @if viewer.may_write() {
                p.actions { a.button.main href={ (path) "/new" } { "New webhook" } }
            }
            (table(
                &["~Endpoint", "~For what", "Whose", "Events", "State", "Failing since"],
                &rows,
                "There are no more.",
            ))
            (pager(&path, &[], &from.cursor, webhooks.next_cursor.as_deref()))
        }
    };
    Ok(Page { place: Place::Webhooks, title: "Webhooks", live: "webhooks" }.show(&viewer, &content))
}

/// What is said where there is no webhook.
fn first(viewer: &Viewer) -> Markup {
    html! {
        div.hint {
            p {
                "A webhook sends events to a server of yours: each change of a task becomes a signed POST \
                 to a URL that you name. If the server is away, taskd tries again for about a day."
            }
            p {
                "There is none yet. "
                @if viewer.may_write() {
                    "Name a URL, keep the secret that you are shown, and ping it to see whether it answers."
                } @else {
                    "Members and admins can make one."
                }
            }
            @if viewer.may_write() {
                p { a.button.main href={ (ROOT) "/webhooks/new" } { "Make the first webhook" } }
            }
        }
    }
}

fn row(names: &Names, webhook: &WebhookView) -> Row {
    let failing = webhook.failing_since.as_ref();
    let why = webhook.disabled_reason.as_deref().map(why_disabled);
    Row::named(
        format!("webhook-{}", webhook.id),
        [
            html! { a href=(address(webhook.id)) { bdi.clip { (shown(webhook)) } } },
            html! { bdi.clip { (webhook.description.as_deref().unwrap_or_default()) } },
            names.user(webhook.user_id),
            types(webhook),
            html! { (state(webhook)) @if let Some(why) = why { " " span.faint { (why) } } },
            time_or(failing, ""),
        ],
    )
}

/// Why a webhook is disabled, in words.
fn why_disabled(reason: &str) -> &str {
    let is = |known: DisabledReason| reason == known.as_str();
    match reason {
        _ if is(DisabledReason::ByRequest) => "by somebody",
        _ if is(DisabledReason::Gone) => "since it answered 410",
        _ if is(DisabledReason::Failing) => "since it failed for five days",
        unknown => unknown,
    }
}

/// The host and the path of a webhook's URL, without its query.
fn shown(webhook: &WebhookView) -> String {
    let path = Url::parse(&webhook.url).map(|url| url.path().to_owned());
    format!("{}{}", host(webhook), path.unwrap_or_default())
}
