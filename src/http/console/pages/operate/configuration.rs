//! The settings of the process that answers, and where each comes from.

use actix_web::HttpResponse;
use maud::html;
use serde::Deserialize;

use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Row, table};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// What `GET /configuration` says. What may hold a secret comes without its value.
#[derive(Deserialize)]
struct Configuration {
    role: String,
    version: String,
    data: Vec<Setting>,
}

#[derive(Deserialize)]
struct Setting {
    name: String,
    value: Option<String>,
    source: String,
    description: String,
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let configuration: Configuration = viewer.client.get("/configuration", &[]).await?;
    let Configuration { role, version, data } = configuration;
    let rows: Vec<Row> = data.iter().map(row).collect();
    let content = html! {
        p.faint { "Of the process that answers this page, " code { "taskd " (role) } " " (version) ". Others may be set otherwise." }
        (table(&["Variable", "~Value", "From", "~What it is"], &rows, "There is no setting."))
    };
    let page = Page { place: Place::Configuration, title: "Configuration", live: "" };
    Ok(page.show(&viewer, &content))
}

fn row(setting: &Setting) -> Row {
    let value = html! {
        @match &setting.value {
            Some(value) => { code { (value) } }
            None if setting.source == "unset" => { span.faint { "not set" } }
            None => { span.faint { "not shown" } }
        }
    };
    Row::named(
        setting.name.clone(),
        [
            html! { code { (setting.name) } },
            value,
            html! { (setting.source) },
            html! { (setting.description) },
        ],
    )
}
