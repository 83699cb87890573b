//! The open letters, by cause.

use actix_web::HttpResponse;
use maud::html;

use super::{group_address, orders};
use crate::dead_letters::{LetterGroup, Replay};
use crate::http::console::ROOT;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, badge, number, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// How many causes the page shows.
const MOST: &str = "100";

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let (groups, replays): (Listed<LetterGroup>, Listed<Replay>) = futures_util::future::try_join(
        viewer.client.get("/dead-letters/groups", &[("limit", MOST)]),
        viewer.client.get("/dead-letters/replays", &[]),
    )
    .await?;
    let rows: Vec<Row> = groups.data.iter().map(row).collect();
    let under_way: Vec<&Replay> =
        replays.data.iter().filter(|replay| replay.ended_at.is_none()).collect();
    let content = html! {
        @if !under_way.is_empty() {
            h2 { "Replays under way" }
            ul { @for replay in under_way { li { (super::replay::line(replay)) } } }
        }
        p.actions {
            a.button href={ (ROOT) "/dead-letters/letters" } { "One by one" }
            a.button href={ (ROOT) "/dead-letters/replays" } { "All replays" }
        }
        (table(
            &["~Error", "Effect", "Type", "#Letters", "First", "Last", "Growing"],
            &rows,
            "No dead letters. Whatever fails for good comes here, with its history.",
        ))
        @if rows.len().to_string() == MOST { p.faint { "The most frequent " (MOST) " causes." } }
        @if !rows.is_empty() && viewer.is_admin() {
            details {
                summary { "Replay all of them" }
                (orders::replay_form(&viewer, &orders::Selection::all()))
            }
        }
    };
    let page = Page { place: Place::DeadLetters, title: "Dead letters", live: "letters" };
    Ok(page.show(&viewer, &content))
}

fn row(group: &LetterGroup) -> Row {
    Row::named(
        format!("group-{}", group.fingerprint),
        [
            html! { a href=(group_address(&group.fingerprint)) { span.clip { (shown(group)) } } },
            html! { (group.effect.as_deref().unwrap_or_default()) },
            html! { (group.event_type.as_deref().unwrap_or_default()) },
            html! { (number(group.count)) },
            time(&group.first_at),
            time(&group.last_at),
            html! { @if group.growing { (badge("growing")) } },
        ],
    )
}

/// What a group is called: its error, or its reason if it has none.
pub(super) fn shown(group: &LetterGroup) -> &str {
    if group.error.is_empty() { &group.reason } else { &group.error }
}
