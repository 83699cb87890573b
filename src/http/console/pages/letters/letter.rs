//! Letters one by one.

use actix_web::HttpResponse;
use actix_web::web::Query;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::orders::{self, Selection};
use super::{HEADS, address, group_address, row};
use crate::dead_letters::DeadLetter;
use crate::domain::processing::history::FailedAttempt;
use crate::http::console::ROOT;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{
    Choice, Listed, Row, badge, choice, copied, json, pager, table, time, time_or,
};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// What becomes of a letter, as the API has it.
const STATES: [&str; 6] =
    ["open", "replaying", "replayed", "failed again", "replaced", "discarded"];

/// What the reader has asked for: the parameters of `GET /dead-letters`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Filter {
    state: String,
    group: String,
    effect: String,
    r#type: String,
    task_id: String,
    cursor: String,
}

pub(super) async fn list(viewer: Viewer, filter: Query<Filter>) -> Result<HttpResponse, Problem> {
    let query = [
        ("state", &*filter.state),
        ("group", &filter.group),
        ("effect", &filter.effect),
        ("type", &filter.r#type),
        ("taskId", &filter.task_id),
    ];
    let mut asked = query.to_vec();
    asked.extend([("limit", "50"), ("cursor", &filter.cursor)]);
    let letters: Listed<DeadLetter> = viewer.client.get("/dead-letters", &asked).await?;
    let rows: Vec<Row> = letters.data.iter().map(row).collect();
    let path = format!("{ROOT}/dead-letters/letters");
    let is_open = ["", STATES[0]].contains(&&*filter.state);
    let selection = Selection::matching(&query);
    let selection = selection.filter(|_| is_open && viewer.is_admin() && !rows.is_empty());
    let content = html! {
        (form(&filter))
        (table(&HEADS, &rows, "No letter is like this."))
        @if let Some(selection) = selection {
            details {
                summary { "Replay or discard all that are like this" }
                (orders::replay_form(&viewer, &selection))
                (orders::discard_form(&viewer, &selection))
            }
        }
        (pager(&path, &query, &filter.cursor, letters.next_cursor.as_deref()))
    };
    let page =
        Page { place: Place::DeadLetters, title: "Dead letters, one by one", live: "letters" };
    Ok(page.show(&viewer, &content))
}

fn form(filter: &Filter) -> Markup {
    let states: Vec<Choice> = STATES.map(|state| (state.to_owned(), state.to_owned())).to_vec();
    html! {
        form.filter method="get" hx-morph-skip {
            (choice(("state", "State"), &states, if filter.state.is_empty() { STATES[0] } else { &filter.state }))
            label { "Effect" input type="text" name="effect" value=(filter.effect) data-search; }
            label { "Type" input type="text" name="type" value=(filter.r#type); }
            label { "Task" input type="text" inputmode="numeric" size="8" name="taskId" value=(filter.task_id); }
            @if !filter.group.is_empty() { input type="hidden" name="group" value=(filter.group); }
            button type="submit" { "Show" }
            a.button href={ (ROOT) "/dead-letters/letters" } { "Clear" }
        }
    }
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let path = format!("/dead-letters/{}", viewer.segment("id"));
    let letter: DeadLetter = viewer.client.get(&path, &[]).await?;
    let open = letter.state == "open";
    let content = html! {
        (details(&letter))
        @if open && viewer.is_admin() {
            h2 { "What to do" }
            p.actions {
                a.button href={ (address(&letter.id)) "/edit" } { "Edit and replay" }
                a.button href=(group_address(&letter.fingerprint)) { "All of this cause" }
            }
            (orders::replay_form(&viewer, &Selection::one(&letter.id)))
            (orders::discard_form(&viewer, &Selection::one(&letter.id)))
        }
    };
    let title = match &letter.event_type {
        Some(kind) => format!("Dead letter: {kind}"),
        None => "Dead letter".to_owned(),
    };
    Ok(Page { place: Place::DeadLetters, title: &title, live: "letters" }.show(&viewer, &content))
}

/// All that is known of a letter.
pub(super) fn details(letter: &DeadLetter) -> Markup {
    html! {
        dl.facts {
            dt { "State" } dd { (badge(&letter.state)) }
            dt { "Reason" } dd { (letter.reason) }
            @if let Some(error) = &letter.error { dt { "Error" } dd { (error) } }
            dt { "Attempts" } dd { (letter.attempts) }
            dt { "Failed first" } dd { (time_or(letter.first_failed_at.as_ref(), "unknown")) }
            dt { "Died" } dd { (time_or(letter.died_at.as_ref(), "unknown")) }
            @if let Some(event) = &letter.event_id {
                dt { "Event" } dd { a href={ (ROOT) "/events/" (event) } { (event) } }
            }
            @if let Some(before) = &letter.replay_of {
                dt { "Was before" } dd { a href=(address(before)) { (before) } }
            }
            @if let Some(by) = &letter.settled_by {
                dt { "Settled" } dd { (time_or(letter.settled_at.as_ref(), "")) " by " bdi { (by) } }
            }
            dt { "Letter" } dd { (copied(&letter.id)) }
        }
        @if !letter.history.is_empty() {
            h2 { "Failed attempts" }
            ol.story { @for attempt in &letter.history { (failed(attempt)) } }
        }
        h2 { "Body" }
        (json(&letter.body))
        details { summary { "Headers" } (json(&Value::Object(letter.headers.clone()))) }
    }
}

/// A failed attempt, as the letter carries it.
fn failed(attempt: &FailedAttempt) -> Markup {
    html! {
        li.bad {
            strong { "attempt " (attempt.attempt) }
            @if let Some(effect) = &attempt.effect { " of " (effect) }
            " " (time(&attempt.at)) span.faint { " on " bdi { (attempt.worker) } }
            p { (attempt.error) }
        }
    }
}
