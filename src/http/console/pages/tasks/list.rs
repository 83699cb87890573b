//! The list of tasks, with filters and a search.

use actix_web::HttpResponse;
use actix_web::web::Query;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Names, address, edit, status_choices, title};
use crate::domain::task::Task;
use crate::http::console::ROOT;
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Choice, Listed, Row, badge, choice, pager, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// What the reader has asked for: the parameters of `GET /tasks`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Filter {
    search: String,
    status: String,
    user_id: String,
    category_id: String,
    sort: String,
    cursor: String,
}

impl Filter {
    fn query(&self) -> [(&str, &str); 5] {
        [
            ("search", &self.search),
            ("status", &self.status),
            ("userId", &self.user_id),
            ("categoryId", &self.category_id),
            ("sort", &self.sort),
        ]
    }
}

pub(super) async fn show(viewer: Viewer, filter: Query<Filter>) -> Result<HttpResponse, Problem> {
    let mut query = filter.query().to_vec();
    if filter.sort.is_empty() {
        query.push(("sort", "-createdAt"));
    }
    query.extend([("limit", "50"), ("cursor", &filter.cursor)]);
    let (tasks, names): (Listed<Task>, Names) =
        futures_util::future::try_join(viewer.client.get("/tasks", &query), Names::load(&viewer))
            .await?;
    let rows: Vec<Row> = tasks.data.iter().map(|task| row(&viewer, &names, task)).collect();
    let path = format!("{ROOT}/tasks");
    let content = html! {
        @if viewer.may_write() { p.actions { a.button.main href={ (path) "/new" } { "New task" } } }
        (form(&viewer, &names, &filter))
        (table(
            &["~Title", "Status", "For", "Category", "Due", "Changed", "Next step"],
            &rows,
            "No task is like this.",
        ))
        (pager(&path, &filter.query(), &filter.cursor, tasks.next_cursor.as_deref()))
    };
    Ok(Page { place: Place::Tasks, title: "Tasks", live: "tasks" }.show(&viewer, &content))
}

fn row(viewer: &Viewer, names: &Names, task: &Task) -> Row {
    Row::named(
        format!("task-{}", task.id),
        [
            html! { a href=(address(task.id)) { (title(task)) } },
            badge(task.status.as_str()),
            names.user(task.user_id),
            names.category(task.category_id),
            html! { @if let Some(due) = &task.due_at { (time(due)) } },
            time(&task.updated_at),
            edit::step(viewer, task),
        ],
    )
}

fn form(viewer: &Viewer, names: &Names, filter: &Filter) -> Markup {
    let mut statuses = vec![(String::new(), "any".to_owned())];
    statuses.extend(status_choices());
    let orders: Vec<Choice> = [
        ("", "newest first"),
        ("createdAt", "oldest first"),
        ("-updatedAt", "changed last"),
        ("dueAt", "due first"),
        ("title", "by title"),
    ]
    .map(|(value, name)| (value.to_owned(), name.to_owned()))
    .to_vec();
    html! {
        form.filter method="get" hx-morph-skip {
            label { "Search"
                input type="search" name="search" value=(filter.search) data-search
                    placeholder="words of a title"; }
            (choice(("status", "Status"), &statuses, &filter.status))
            @if viewer.is_operator() {
                (choice(("userId", "For"), &names.user_choices("anybody"), &filter.user_id))
            }
            (choice(("categoryId", "Category"), &names.category_choices("any"), &filter.category_id))
            (choice(("sort", "Order"), &orders, &filter.sort))
            button type="submit" { "Show" }
            a.button href={ (ROOT) "/tasks" } { "Clear" }
        }
    }
}
