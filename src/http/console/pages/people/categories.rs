//! Categories: listed for everybody, changed by admins.

use actix_web::web::Query;
use actix_web::{HttpResponse, ResponseError};
use chrono::{DateTime, Utc};
use maud::html;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::console::ROOT;
use crate::http::console::client::target;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Listed, Row, input, pager, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Category {
    id: i64,
    name: String,
    created_at: DateTime<Utc>,
}

/// Where the list begins.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Start {
    pub(super) cursor: String,
}

pub(super) async fn show(viewer: Viewer, start: Query<Start>) -> Result<HttpResponse, Problem> {
    list(&viewer, &start.cursor, None).await
}

async fn list(
    viewer: &Viewer,
    cursor: &str,
    problem: Option<(&Problem, &str)>,
) -> Result<HttpResponse, Problem> {
    let asked = [("limit", "50"), ("cursor", cursor)];
    let categories: Listed<Category> = viewer.client.get("/categories", &asked).await?;
    let rows: Vec<Row> = categories.data.iter().map(|category| row(viewer, category)).collect();
    let content = html! {
        @if let Some((problem, _)) = problem { (problem.show()) }
        @if viewer.is_admin() {
            form.filter method="post" action={ (ROOT) "/categories" } hx-morph-skip {
                (proof(viewer))
                (input(("text", "name", "New category"), problem.map_or("", |it| it.1), problem.map(|it| it.0)))
                button.main type="submit" { "Create" }
            }
        }
        (table(&["~Category", "Created", "Orders"], &rows, "There is no category yet."))
        (pager(&format!("{ROOT}/categories"), &[], cursor, categories.next_cursor.as_deref()))
    };
    let status =
        problem.map_or(actix_web::http::StatusCode::OK, |(problem, _)| problem.status_code());
    let page = Page { place: Place::Categories, title: "Categories", live: "" };
    Ok(page.show_as(status, viewer, &content))
}

fn row(viewer: &Viewer, category: &Category) -> Row {
    let id = category.id.to_string();
    let path = format!("{ROOT}/categories/{id}");
    let tasks = target(&format!("{ROOT}/tasks"), &[("categoryId", &id)]);
    let orders = html! { @if viewer.is_admin() {
        div.actions {
            form method="post" action=(path) {
                (proof(viewer))
                input type="text" name="name" value=(category.name) aria-label={ "Name of category " (id) };
                button type="submit" { "Rename" }
            }
            form method="post" action={ (path) "/delete" }
                data-ask="Delete this category? Its tasks stay, without one." {
                (proof(viewer))
                button.danger type="submit" aria-label={ "Delete category " (id) } { "Delete" }
            }
        }
    } };
    Row::named(
        format!("category-{id}"),
        [html! { a href=(tasks) { bdi { (category.name) } } }, time(&category.created_at), orders],
    )
}

pub(super) async fn create(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let name = form.text("name");
    let made: Result<Value, Problem> =
        viewer.client.post("/categories", &json!({ "name": name })).await;
    match made {
        Ok(_) => Ok(viewer.go(&format!("{ROOT}/categories"), "The category is created.")),
        Err(problem) => list(&viewer, "", Some((&problem, name))).await,
    }
}

pub(super) async fn rename(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let path = format!("/categories/{}", viewer.id("id")?);
    match viewer.client.patch(&path, None, &json!({ "name": form.text("name") })).await {
        Ok(()) => Ok(viewer.go(&format!("{ROOT}/categories"), "The category has its new name.")),
        Err(problem) => list(&viewer, "", Some((&problem, form.text("name")))).await,
    }
}

pub(super) async fn delete(viewer: Viewer, _form: Form) -> Result<HttpResponse, Problem> {
    viewer.client.delete(&format!("/categories/{}", viewer.id("id")?), None).await?;
    Ok(viewer.go(&format!("{ROOT}/categories"), "The category is deleted."))
}
