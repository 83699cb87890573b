//! Tasks by status, in three columns.

use actix_web::HttpResponse;
use futures_util::future::try_join_all;
use maud::{Markup, html};

use super::{Names, address, edit, title};
use crate::domain::task::{Status, Task};
use crate::http::console::ROOT;
use crate::http::console::client::target;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// How many tasks a column shows: those that changed last.
const COLUMN: &str = "30";

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let queries = Status::ALL
        .map(|status| [("status", status.as_str()), ("sort", "-updatedAt"), ("limit", COLUMN)]);
    let columns = queries.iter().map(|query| viewer.client.get::<Listed<Task>>("/tasks", query));
    let (columns, names) =
        futures_util::future::try_join(try_join_all(columns), Names::load(&viewer)).await?;
    let content = html! {
        div.board {
            @for (status, column) in Status::ALL.into_iter().zip(&columns) {
                section aria-labelledby={ "column-" (status.as_str()) } {
                    h2 id={ "column-" (status.as_str()) } { (status.as_str()) }
                    @for task in &column.data { (card(&viewer, &names, task)) }
                    @if column.data.is_empty() { p.faint { "Nothing." } }
                    @if column.next_cursor.is_some() {
                        @let query = [("status", status.as_str()), ("sort", "-updatedAt")];
                        a href=(target(&format!("{ROOT}/tasks"), &query)) { "All of them" }
                    }
                }
            }
        }
    };
    Ok(Page { place: Place::Board, title: "Board", live: "tasks" }.show(&viewer, &content))
}

fn card(viewer: &Viewer, names: &Names, task: &Task) -> Markup {
    html! {
        article id={ "task-" (task.id) } data-row {
            a href=(address(task.id)) { (title(task)) }
            p.faint {
                (names.user(task.user_id))
                @if let Some(due) = &task.due_at { " · due " (time(due)) }
            }
            (edit::step(viewer, task))
        }
    }
}
