//! The letters of one cause, and what to do with them together.

use actix_web::HttpResponse;
use maud::{Markup, html};

use super::orders::{self, Selection};
use super::{HEADS, groups::shown, letter, row};
use crate::dead_letters::{DeadLetter, LetterGroup, Replay};
use crate::http::console::ROOT;
use crate::http::console::client::target;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, badge, copied, number, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let id = viewer.text("group").to_owned();
    let of_group = [("group", &*id), ("limit", "20")];
    let (groups, letters, replays): (Listed<LetterGroup>, Listed<DeadLetter>, Listed<Replay>) =
        futures_util::future::try_join3(
            viewer.client.get("/dead-letters/groups", &[("group", &*id)]),
            viewer.client.get("/dead-letters", &of_group),
            viewer.client.get("/dead-letters/replays", &[]),
        )
        .await?;
    let group = groups.data.iter().find(|group| group.fingerprint == id);
    let replays: Vec<&Replay> =
        replays.data.iter().filter(|replay| replay.selection["group"] == *id).collect();
    let rows: Vec<Row> = letters.data.iter().map(row).collect();
    let all = target(&format!("{ROOT}/dead-letters/letters"), &[("group", &id)]);
    let content = html! {
        @match group {
            Some(group) => { (facts(group)) }
            None => { p.note { "No letter of this cause is open any more." } }
        }
        @if !replays.is_empty() {
            h2 { "Replays of this cause" }
            ul { @for replay in replays { li { (super::replay::line(replay)) } } }
        }
        @if viewer.is_admin() && group.is_some() {
            h2 { "Replay" }
            (orders::replay_form(&viewer, &Selection::group(&id)))
            h2 { "Discard" }
            (orders::discard_form(&viewer, &Selection::group(&id)))
        }
        h2 { "Letters" }
        (table(&HEADS, &rows, "None is open."))
        @if letters.next_cursor.is_some() { p { a href=(all) { "All of them" } } }
        @if let Some(sample) = group.and_then(|group| group.sample.as_ref()) {
            h2 { "The newest letter" }
            (letter::details(sample))
        }
    };
    let title = group.map_or("A cause that is gone", shown);
    Ok(Page { place: Place::DeadLetters, title, live: "letters" }.show(&viewer, &content))
}

fn facts(group: &LetterGroup) -> Markup {
    html! {
        dl.facts {
            dt { "Letters" } dd { (number(group.count)) " " @if group.growing { (badge("growing")) } }
            dt { "Reason" } dd { (group.reason) }
            @if let Some(effect) = &group.effect { dt { "Effect" } dd { (effect) } }
            @if let Some(kind) = &group.event_type { dt { "Type" } dd { (kind) } }
            dt { "First" } dd { (time(&group.first_at)) }
            dt { "Last" } dd { (time(&group.last_at)) }
            dt { "Fingerprint" } dd { (copied(&group.fingerprint)) }
            dt { "As a command" } dd { (copied(&format!("taskd dlq replay --group {} --dry-run", group.fingerprint))) }
        }
    }
}
