//! Events: the newest as they come, and a search by state, type, task and time.

use actix_web::HttpResponse;
use actix_web::web::{Query, ServiceConfig};
use maud::{Markup, html};
use serde::Deserialize;

use crate::domain::catalog;
use crate::domain::processing::state::EventState;
use crate::http::console::ROOT;
use crate::http::console::addresses::page;
use crate::http::console::client::segment;
use crate::http::console::form::utc;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{
    Choice, Listed, Row, badge, choice, copied, pager, table, time, time_or,
};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::http::dto::EventView;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(page("/events", show));
}

/// What the reader has asked for: the parameters of `GET /events`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    state: String,
    r#type: String,
    task_id: String,
    since: String,
    /// An event's id, to go to its page.
    id: String,
    cursor: String,
}

async fn show(viewer: Viewer, filter: Query<Filter>) -> Result<HttpResponse, Problem> {
    let id = filter.id.trim();
    if !id.is_empty() {
        return Ok(viewer.go(&format!("{ROOT}/events/{}", segment(id)), ""));
    }
    let since = utc(&filter.since);
    let query = [
        ("state", &*filter.state),
        ("type", &filter.r#type),
        ("taskId", &filter.task_id),
        ("since", &since),
    ];
    let mut asked = query.to_vec();
    asked.extend([("limit", "50"), ("cursor", &filter.cursor)]);
    let events: Listed<EventView> = viewer.client.get("/events", &asked).await?;
    let rows: Vec<Row> = events.data.iter().map(row).collect();
    let path = format!("{ROOT}/events");
    let content = html! {
        (form(&filter))
        (table(&["Event", "State", "About", "By", "Written", "Published"], &rows, "No event is like this."))
        (pager(&path, &query, &filter.cursor, events.next_cursor.as_deref()))
    };
    Ok(Page { place: Place::Events, title: "Events", live: "events,work" }.show(&viewer, &content))
}

fn row(event: &EventView) -> Row {
    let about = html! {
        @match event.task_id {
            Some(task) => { a href={ (ROOT) "/tasks/" (task) } { "task " (task) } }
            None => { (event.subject.kind) " " (event.subject.id) }
        }
        span.faint { " v" (event.subject.version) }
    };
    Row::named(
        format!("event-{}", event.event_id),
        [
            html! { a href={ (ROOT) "/events/" (event.event_id) } { (event.event_type) } },
            badge(&event.state),
            about,
            html! { @if let Some(actor) = &event.actor { (actor.to_string()) } },
            time(&event.occurred_at),
            time_or(event.published_at.as_ref(), "not yet"),
        ],
    )
}

fn form(filter: &Filter) -> Markup {
    let any = || (String::new(), "any".to_owned());
    let named = |name: &str| (name.to_owned(), name.to_owned());
    let states: Vec<Choice> =
        std::iter::once(any()).chain(EventState::ALL.map(|state| named(state.as_str()))).collect();
    let types = catalog::built_in();
    let types: Vec<Choice> =
        std::iter::once(any()).chain(types.iter().map(|known| named(known.name))).collect();
    html! {
        form.filter method="get" hx-morph-skip {
            (choice(("state", "State"), &states, &filter.state))
            (choice(("type", "Type"), &types, &filter.r#type))
            label { "Task" input type="text" inputmode="numeric" size="8" name="taskId" value=(filter.task_id); }
            label {
                span { "Since " span.faint data-zone-of="since" { "(UTC)" } }
                input type="datetime-local" id="since" name="since" value=(filter.since.trim_end_matches('Z'));
            }
            label { "Event id" input type="text" name="id" data-search placeholder="goes to its page"; }
            button type="submit" { "Show" }
            a.button href={ (ROOT) "/events" } { "Clear" }
        }
        p.faint { (copied("taskd events list")) " shows the same in a terminal." }
    }
}
