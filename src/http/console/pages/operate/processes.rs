//! Who serves and who works.

use actix_web::HttpResponse;
use maud::html;

use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Row, badge, copied, number, table, time, time_or};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::operate::presence::{ProcessEntry, ProcessList};

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let list: ProcessList = viewer.client.get("/processes", &[]).await?;
    let rows: Vec<Row> = list.processes.iter().map(row).collect();
    let content = html! {
        @for finding in &list.findings { p.problem { (finding.message) } }
        (table(
            &["Role", "Name", "State", "#In hand", "Last progress", "Seen", "Started", "Version", "Process"],
            &rows,
            "No process was seen within a day.",
        ))
    };
    let page = Page { place: Place::Processes, title: "Processes", live: "processes" };
    Ok(page.show(&viewer, &content))
}

fn row(process: &ProcessEntry) -> Row {
    Row::named(
        format!("process-{}", process.id),
        [
            html! { (process.role) },
            html! { bdi { (process.name) } },
            badge(&process.state),
            html! { (number(process.in_hand)) },
            time_or(process.last_progress_at.as_ref(), "none yet"),
            time(&process.seen_at),
            time(&process.started_at),
            html! { (process.version) },
            copied(&format!("{} {}", process.host, process.pid)),
        ],
    )
}
