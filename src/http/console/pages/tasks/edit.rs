//! Making, changing and deleting tasks. A change is sent with the version that its author saw; when
//! another came first, both are shown.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::{Names, address, next_status, one, status_choices};
use crate::domain::task::{Status, Task};
use crate::http::console::ROOT;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{area, choice, input, time_input};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// The fields of a task as a form has them.
#[derive(Default)]
struct Draft {
    title: String,
    description: String,
    status: String,
    user: String,
    category: String,
    due: Option<chrono::DateTime<chrono::Utc>>,
    /// The fields in which somebody else's version is another, by their names.
    differs: Vec<&'static str>,
}

impl Draft {
    fn of_task(task: &Task) -> Draft {
        let id = |id: Option<i64>| id.map_or_else(String::new, |id| id.to_string());
        Draft {
            title: task.title.clone(),
            description: task.description.clone().unwrap_or_default(),
            status: task.status.as_str().to_owned(),
            user: id(task.user_id),
            category: id(task.category_id),
            due: task.due_at,
            differs: Vec::new(),
        }
    }

    fn of_form(form: &Form) -> Draft {
        let due = form.time("dueAt").as_str().and_then(|text| text.parse().ok());
        Draft {
            title: form.text("title").to_owned(),
            description: form.text("description").replace("\r\n", "\n"),
            status: form.text("status").to_owned(),
            user: form.text("userId").to_owned(),
            category: form.text("categoryId").to_owned(),
            due,
            differs: Vec::new(),
        }
    }

    /// The same, which knows in what it differs from the task. Who sees no field for the user has
    /// not chosen one.
    fn compared_with(mut self, task: &Task, has_user: bool) -> Draft {
        let theirs = Draft::of_task(task);
        let pairs = [
            ("title", self.title != theirs.title),
            ("description", self.description != theirs.description),
            ("status", self.status != theirs.status),
            ("userId", has_user && self.user != theirs.user),
            ("categoryId", self.category != theirs.category),
            ("dueAt", self.due != theirs.due),
        ];
        self.differs =
            pairs.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
        self
    }

    /// The members of the request that this form makes.
    fn members(form: &Form) -> Value {
        let mut members = Map::new();
        members.insert("title".into(), json!(form.text("title")));
        members.insert("description".into(), form.optional("description"));
        members.insert("status".into(), json!(form.text("status")));
        members.insert("categoryId".into(), form.number("categoryId"));
        members.insert("dueAt".into(), form.time("dueAt"));
        // Members have no field for it: their tasks are their own.
        if form.has("userId") {
            members.insert("userId".into(), form.number("userId"));
        }
        Value::Object(members)
    }

    fn fields(&self, viewer: &Viewer, names: &Names, problem: Option<&Problem>) -> Markup {
        let label = |name, label: &str| match self.differs.contains(&name) {
            true => format!("{label} (differs)"),
            false => label.to_owned(),
        };
        let (users, categories) = (names.user_choices("nobody"), names.category_choices("none"));
        html! {
            (input(("text", "title", &label("title", "Title")), &self.title, problem))
            (area(("description", &label("description", "Description")), &self.description, problem))
            (choice(("status", &label("status", "Status")), &status_choices(), &self.status))
            @if viewer.is_admin() { (choice(("userId", &label("userId", "For")), &users, &self.user)) }
            (choice(("categoryId", &label("categoryId", "Category")), &categories, &self.category))
            (time_input(("dueAt", &label("dueAt", "Due")), self.due.as_ref(), problem))
        }
    }
}

/// The page for a new task.
pub(super) async fn ask(viewer: Viewer) -> Result<HttpResponse, Problem> {
    viewer.writes()?;
    let own = viewer.who.user.as_ref().map(|user| user.id.to_string());
    let draft = Draft {
        status: Status::Pending.as_str().to_owned(),
        user: own.unwrap_or_default(),
        ..Draft::default()
    };
    ask_again(&viewer, StatusCode::OK, &draft, None).await
}

async fn ask_again(
    viewer: &Viewer,
    status: StatusCode,
    draft: &Draft,
    problem: Option<&Problem>,
) -> Result<HttpResponse, Problem> {
    let names = Names::load(viewer).await?;
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        form.stacked method="post" action={ (ROOT) "/tasks" } {
            (proof(viewer))
            // Sent a second time, the same form makes no second task.
            input type="hidden" name="key" value=(uuid::Uuid::new_v4());
            (draft.fields(viewer, &names, problem))
            button.main type="submit" { "Create" }
        }
    };
    Ok(Page { place: Place::Tasks, title: "New task", live: "" }.show_as(status, viewer, &content))
}

pub(super) async fn create(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    match viewer.client.create::<Task>("/tasks", form.text("key"), &Draft::members(&form)).await {
        Ok(task) => Ok(viewer.go(&address(task.id), "The task is created.")),
        Err(problem) => {
            let status = problem.status_code();
            ask_again(&viewer, status, &Draft::of_form(&form), Some(&problem)).await
        }
    }
}

/// The page for a change.
pub(super) async fn ask_change(viewer: Viewer) -> Result<HttpResponse, Problem> {
    viewer.writes()?;
    let task: Task = viewer.client.get(&format!("/tasks/{}", viewer.id("id")?), &[]).await?;
    let names = Names::load(&viewer).await?;
    let content = change(&viewer, &names, &task, &Draft::of_task(&task), None, "Save");
    Ok(Page { place: Place::Tasks, title: "Edit the task", live: "" }.show(&viewer, &content))
}

fn change(
    viewer: &Viewer,
    names: &Names,
    task: &Task,
    draft: &Draft,
    problem: Option<&Problem>,
    button: &str,
) -> Markup {
    let is_over = problem.is_some_and(Problem::is_conflict);
    html! {
        @if let Some(problem) = problem.filter(|_| !is_over) { (problem.show()) }
        form.stacked method="post" action=(address(task.id)) {
            (proof(viewer))
            input type="hidden" name="version" value=(task.version);
            (draft.fields(viewer, names, problem))
            div.actions {
                button.main[!is_over].danger[is_over] type="submit" { (button) }
                a.button href=(address(task.id)) { "Leave it as it is" }
            }
        }
    }
}

pub(super) async fn update(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let path = format!("/tasks/{id}");
    let sent = viewer.client.patch(&path, Some(&seen(&form)), &Draft::members(&form)).await;
    let Err(problem) = sent else {
        return Ok(viewer.go(&address(id), "The task is changed."));
    };
    let task: Task = viewer.client.get(&path, &[]).await?;
    let names = Names::load(&viewer).await?;
    let draft = Draft::of_form(&form);
    let (title, content) = if problem.is_conflict() {
        let draft = draft.compared_with(&task, form.has("userId"));
        ("Another change came first", conflict(&viewer, &names, &task, &draft, &problem))
    } else {
        ("Edit the task", change(&viewer, &names, &task, &draft, Some(&problem), "Save"))
    };
    let page = Page { place: Place::Tasks, title, live: "" };
    Ok(page.show_as(problem.status_code(), &viewer, &content))
}

/// Both versions. The form has the version that is there now, so sending it again replaces that.
fn conflict(
    viewer: &Viewer,
    names: &Names,
    task: &Task,
    draft: &Draft,
    problem: &Problem,
) -> Markup {
    html! {
        div.problem role="alert" {
            "Somebody changed this task after you had opened it. Nothing of yours is saved yet."
        }
        div.versions {
            section {
                h2 { "As it is now" }
                h3 { bdi { (task.title) } (one::mark("title", &draft.differs)) }
                (one::facts(task, names, &draft.differs))
            }
            section {
                h2 { "As you want it" }
                (change(viewer, names, task, draft, Some(problem), "Save mine over it"))
            }
        }
    }
}

/// The button for the step that a task usually takes next.
pub(super) fn step(viewer: &Viewer, task: &Task) -> Markup {
    html! {
        @if let Some((status, name)) = next_status(task.status).filter(|_| viewer.may_write()) {
            form method="post" action={ (address(task.id)) "/status" } {
                (proof(viewer))
                input type="hidden" name="version" value=(task.version);
                input type="hidden" name="status" value=(status.as_str());
                input type="hidden" name="back" value=(viewer.address);
                button type="submit" aria-label={ (name) " task " (task.id) } { (name) }
            }
        }
    }
}

pub(super) async fn set_status(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let change = json!({ "status": form.text("status") });
    let sent = viewer.client.patch(&format!("/tasks/{id}"), Some(&seen(&form)), &change).await;
    match sent {
        Ok(()) => Ok(viewer.go(form.text("back"), "")),
        Err(problem) if problem.is_conflict() => {
            let note = "Somebody changed the task at the same time. This is how it is now.";
            Ok(viewer.go(&address(id), note))
        }
        Err(problem) => Err(problem),
    }
}

pub(super) fn delete_button(viewer: &Viewer, task: &Task) -> Markup {
    html! {
        form method="post" action={ (address(task.id)) "/delete" }
            data-ask="Delete this task? Its history stays." {
            (proof(viewer))
            input type="hidden" name="version" value=(task.version);
            button.danger type="submit" { "Delete" }
        }
    }
}

pub(super) async fn delete(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    match viewer.client.delete(&format!("/tasks/{id}"), Some(&seen(&form))).await {
        Ok(()) => Ok(viewer.go(&format!("{ROOT}/tasks"), "The task is deleted.")),
        Err(problem) if problem.is_conflict() => {
            let note =
                "Somebody changed the task meanwhile, so it is not deleted. This is how it is now.";
            Ok(viewer.go(&address(id), note))
        }
        Err(problem) => Err(problem),
    }
}

/// The entity tag of the version that a form was made from.
fn seen(form: &Form) -> String {
    format!("\"{}\"", form.text("version").trim())
}
