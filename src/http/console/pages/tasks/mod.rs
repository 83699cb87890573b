//! Tasks: as a list and on a board, one by one, and changing them.

mod list;
mod board;
mod one;
mod edit;

use actix_web::web::ServiceConfig;
use maud::{Markup, html};
use serde::Deserialize;

use crate::domain::task::{Status, Task};
use crate::http::console::ROOT;
use crate::http::console::addresses::{form, page, page_and_form};
use crate::http::console::parts::{Choice, Listed};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::{Person, Viewer};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(page_and_form("/tasks", list::show, edit::create))
        .service(page("/tasks/new", edit::ask))
        .service(page("/board", board::show))
        .service(page_and_form("/tasks/{id}", one::show, edit::update))
        .service(page("/tasks/{id}/edit", edit::ask_change))
        .service(form("/tasks/{id}/status", edit::set_status))
        .service(form("/tasks/{id}/delete", edit::delete));
}

/// A category, as pages show one.
#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// The names of the users and categories that tasks refer to: of the first hundred of each.
/// Members see no users but themselves.
#[derive(Default)]
pub(super) struct Names {
    users: Vec<Person>,
    categories: Vec<Category>,
}

/// As many as a page of the API has at most.
const MOST: &str = "100";

impl Names {
    pub(super) async fn load(viewer: &Viewer) -> Result<Names, Problem> {
        let users = async {
            match viewer.is_operator() {
                true => viewer.client.get("/users", &[("limit", MOST)]).await,
                false => Ok(Listed {
                    data: viewer.who.user.iter().cloned().collect(),
                    next_cursor: None,
                }),
            }
        };
        let categories = viewer.client.get("/categories", &[("limit", MOST)]);
        let (users, categories): (Listed<Person>, Listed<Category>) =
            futures_util::future::try_join(users, categories).await?;
        Ok(Names { users: users.data, categories: categories.data })
    }

    pub(super) fn user(&self, id: Option<i64>) -> Markup {
        let found = self.users.iter().find(|user| Some(user.id) == id);
        match (found, id) {
            (Some(user), _) => html! { bdi { (user.name()) } },
            (None, Some(id)) => html! { "user " (id) },
            (None, None) => html! { span.faint { "nobody" } },
        }
    }

    fn category(&self, id: Option<i64>) -> Markup {
        let found = self.categories.iter().find(|category| Some(category.id) == id);
        match (found, id) {
            (Some(category), _) => html! { bdi { (category.name) } },
            (None, Some(id)) => html! { "category " (id) },
            (None, None) => html! {},
        }
    }

    /// The users to choose from, after a choice with this name for none.
    pub(super) fn user_choices(&self, none: &str) -> Vec<Choice> {
        let users = self.users.iter().map(|user| (user.id.to_string(), user.name().to_owned()));
        std::iter::once((String::new(), none.to_owned())).chain(users).collect()
    }

    pub(super) fn category_choices(&self, none: &str) -> Vec<Choice> {
        let categories = self.categories.iter();
        let categories =
            categories.map(|category| (category.id.to_string(), category.name.clone()));
        std::iter::once((String::new(), none.to_owned())).chain(categories).collect()
    }
}

/// The statuses to choose from.
pub(super) fn status_choices() -> Vec<Choice> {
    Status::ALL.map(|status| (status.as_str().to_owned(), status.as_str().to_owned())).to_vec()
}

/// The address of a task's page.
fn address(task: i64) -> String {
    format!("{ROOT}/tasks/{task}")
}

/// The status after this one; nothing comes after the last.
fn next_status(status: Status) -> Option<(Status, &'static str)> {
    match status {
        Status::Pending => Some((Status::InProgress, "Start")),
        Status::InProgress => Some((Status::Completed, "Complete")),
        Status::Completed => None,
    }
}

/// A title, whatever is in it: in its own direction, and at most three lines long.
fn title(task: &Task) -> Markup {
    html! { bdi.clip { (task.title) } }
}
