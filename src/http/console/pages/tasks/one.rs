//! A task: what it says, what happened to it, and its events and mails.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{Names, address, edit};
use crate::domain::task::Task;
use crate::http::console::ROOT;
use crate::http::console::client::target;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, badge, copied, json, table, time, time_or};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::http::dto::EventView;

/// An entry of a task's activity.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: i64,
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    task_version: i64,
    changes: Option<Value>,
    occurred_at: DateTime<Utc>,
    mail: Option<Mail>,
}

/// The mail of an entry.
#[derive(Deserialize)]
struct Mail {
    state: String,
    to: Option<String>,
    at: DateTime<Utc>,
    error: Option<String>,
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let path = format!("/tasks/{id}");
    let activity_path = format!("{path}/activity");
    let of_task = id.to_string();
    let events = async {
        match viewer.is_operator() {
            true => viewer.client.get("/events", &[("taskId", &of_task), ("limit", "20")]).await,
            false => Ok(Listed { data: Vec::new(), next_cursor: None }),
        }
    };
    let (task, activity, names, events): (Task, Listed<Entry>, Names, Listed<EventView>) =
        futures_util::future::try_join4(
            viewer.client.get(&path, &[]),
            viewer.client.get(&activity_path, &[("limit", "50")]),
            Names::load(&viewer),
            events,
        )
        .await?;
    let content = html! {
        (facts(&task, &names, &[]))
        @if viewer.may_write() {
            div.actions {
                (edit::step(&viewer, &task))
                a.button href={ (address(task.id)) "/edit" } { "Edit" }
                (edit::delete_button(&viewer, &task))
            }
        }
        h2 { "What happened" }
        (history(&activity.data, viewer.is_operator()))
        @if viewer.is_operator() {
            h2 { "Events" }
            (table(&["Event", "State", "When"], &events.data.iter().map(event).collect::<Vec<_>>(),
                "Its events have been purged."))
            @if events.next_cursor.is_some() {
                p { a href=(target(&format!("{ROOT}/events"), &[("taskId", &of_task)])) { "All its events" } }
            }
        }
    };
    Ok(Page { place: Place::Tasks, title: &task.title, live: "tasks,work" }.show(&viewer, &content))
}

/// Says that a field differs from another version, if it is among these.
pub(super) fn mark(field: &str, differs: &[&str]) -> Markup {
    html! { @if differs.contains(&field) { " " span.badge.warn { "differs" } } }
}

/// What a task says. `differs` are the fields to be marked.
pub(super) fn facts(task: &Task, names: &Names, differs: &[&str]) -> Markup {
    let mark = |field| mark(field, differs);
    html! {
        dl.facts {
            dt { "Status" (mark("status")) } dd { (badge(task.status.as_str())) }
            dt { "For" (mark("userId")) } dd { (names.user(task.user_id)) }
            dt { "Category" (mark("categoryId")) }
            dd {
                (names.category(task.category_id))
                @if task.category_id.is_none() { span.faint { "none" } }
            }
            dt { "Due" (mark("dueAt")) } dd { (time_or(task.due_at.as_ref(), "no date")) }
            dt { "Version" } dd { (task.version) }
            dt { "Created" } dd { (time(&task.created_at)) }
            dt { "Changed" } dd { (time(&task.updated_at)) }
            @if let Some(at) = &task.completed_at { dt { "Completed" } dd { (time(at)) } }
            dt { "Id" } dd { (copied(&task.id.to_string())) }
        }
        @if differs.contains(&"description") { p { "Description" (mark("description")) } }
        @if let Some(description) = &task.description {
            pre dir="auto" tabindex="0" { (description) }
        }
    }
}

fn history(entries: &[Entry], links: bool) -> Markup {
    html! {
        @if entries.is_empty() {
            p.empty { "Nothing is on record yet: a worker writes it down." }
        }
        ol.story {
            @for entry in entries {
                li.good id={ "entry-" (entry.id) } data-row {
                    strong { (entry.event_type) } " version " (entry.task_version) " " (time(&entry.occurred_at))
                    @if links { " " a href={ (ROOT) "/events/" (entry.event_id) } { "event" } }
                    @if let Some(changes) = entry.changes.as_ref().filter(|it| !it.is_null()) {
                        details { summary { "what changed" } (json(changes)) }
                    }
                    @if let Some(mail) = &entry.mail {
                        p.faint {
                            "mail " (badge(&mail.state))
                            @if let Some(to) = &mail.to { " to " bdi { (to) } }
                            " " (time(&mail.at))
                            @if let Some(error) = &mail.error { ": " (error) }
                        }
                    }
                }
            }
        }
    }
}

fn event(event: &EventView) -> Row {
    Row::new([
        html! { a href={ (ROOT) "/events/" (event.event_id) } { (event.event_type) } },
        badge(&event.state),
        time(&event.occurred_at),
    ])
}
