//! The settings of the process that answers, and where each comes from.

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, table};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// A setting, as `GET /configuration` tells it. Secrets come without their value.
#[derive(Deserialize)]
struct Setting {
    name: String,
    value: Option<String>,
    source: String,
    #[serde(default)]
    description: String,
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let settings: Listed<Setting> = viewer.client.get("/configuration", &[]).await?;
    let rows: Vec<Markup> = settings.data.iter().map(row).collect();
    let content = html! {
        p.faint { "Of the process that answers this page. Others may be set otherwise." }
        (table(&["Variable", "Value", "From", "What it is"], &rows, "There is no setting."))
    };
    let page = Page { place: Place::Configuration, title: "Configuration", live: "" };
    Ok(page.show(&viewer, &content))
}

fn row(setting: &Setting) -> Markup {
    html! {
        tr id=(setting.name) data-row {
            td { code { (setting.name) } }
            td.long { @match &setting.value { Some(value) => { code { (value) } } None => { span.faint { "not set" } } } }
            td { (setting.source) }
            td.long { (setting.description) }
        }
    }
}
