//! What operators did, and who tried to sign in.

use actix_web::HttpResponse;
use actix_web::web::Query;
use maud::html;
use serde::Deserialize;
use serde_json::Value;

use crate::http::console::ROOT;
use crate::http::console::form::utc;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, badge, json, pager, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::operate::AuditEntry;

/// What the reader has asked for: the parameters of `GET /audit`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    action: String,
    actor: String,
    since: String,
    cursor: String,
}

pub(super) async fn show(viewer: Viewer, filter: Query<Filter>) -> Result<HttpResponse, Problem> {
    let since = utc(&filter.since);
    let query = [("action", &*filter.action), ("actor", &filter.actor), ("since", &since)];
    let mut asked = query.to_vec();
    asked.extend([("limit", "50"), ("cursor", &filter.cursor)]);
    let entries: Listed<AuditEntry> = viewer.client.get("/audit", &asked).await?;
    let rows: Vec<Row> = entries.data.iter().map(row).collect();
    let content = html! {
        form.filter method="get" hx-morph-skip {
            label { "Action" input type="text" name="action" value=(filter.action) data-search placeholder="such as replay"; }
            label { "By" input type="text" name="actor" value=(filter.actor) placeholder="such as user 1"; }
            label {
                span { "Since " span.faint data-zone-of="since" { "(UTC)" } }
                input type="datetime-local" id="since" name="since" value=(filter.since.trim_end_matches('Z'));
            }
            button type="submit" { "Show" }
            a.button href={ (ROOT) "/audit" } { "Clear" }
        }
        (table(&["When", "Who", "What", "To what", "From", "~Details"], &rows, "Nothing is on record."))
        (pager(&format!("{ROOT}/audit"), &query, &filter.cursor, entries.next_cursor.as_deref()))
    };
    Ok(Page { place: Place::Audit, title: "Audit", live: "" }.show(&viewer, &content))
}

fn row(entry: &AuditEntry) -> Row {
    let is_empty = match &entry.details {
        Value::Object(members) => members.is_empty(),
        details => details.is_null(),
    };
    Row::named(
        format!("entry-{}", entry.id),
        [
            time(&entry.at),
            html! { bdi { (entry.actor) } },
            html! { strong { (entry.action) } @if entry.dry_run { " " (badge("dry run")) } },
            html! { @if let Some(target) = &entry.target { bdi { (target) } } },
            html! { (entry.origin.as_deref().unwrap_or_default()) },
            html! { @if !is_empty { details { summary { "details" } (json(&entry.details)) } } },
        ],
    )
}
