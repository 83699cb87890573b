//! Users: listed for operators, made and changed by admins.

use actix_web::http::StatusCode;
use actix_web::web::Query;
use actix_web::{HttpResponse, ResponseError};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::account::{Access, access};
use super::categories::Start;
use crate::domain::user::Role;
use crate::http::console::ROOT;
use crate::http::console::client::target;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Choice, Listed, Row, badge, choice, input, pager, table, time};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::{Person, Viewer};

pub(super) async fn show(viewer: Viewer, start: Query<Start>) -> Result<HttpResponse, Problem> {
    list(&viewer, &start.cursor, None).await
}

async fn list(
    viewer: &Viewer,
    cursor: &str,
    problem: Option<(&Problem, &Form)>,
) -> Result<HttpResponse, Problem> {
    let asked = [("limit", "50"), ("cursor", cursor)];
    let users: Listed<Person> = viewer.client.get("/users", &asked).await?;
    let rows: Vec<Row> = users.data.iter().map(row).collect();
    let content = html! {
        @if let Some((problem, _)) = problem { (problem.show()) }
        @if viewer.is_admin() { (new_user(viewer, problem)) }
        (table(&["~Name", "~E-mail", "Role", "Since"], &rows, "There is no user."))
        (pager(&format!("{ROOT}/users"), &[], cursor, users.next_cursor.as_deref()))
    };
    let status = problem.map_or(StatusCode::OK, |(problem, _)| problem.status_code());
    Ok(Page { place: Place::Users, title: "Users", live: "" }.show_as(status, viewer, &content))
}

fn row(user: &Person) -> Row {
    Row::named(
        format!("user-{}", user.id),
        [
            html! { a href=(address(user.id)) { bdi { (user.name()) } } },
            html! { bdi { (user.email) } },
            badge(user.role.as_str()),
            time(&user.created_at),
        ],
    )
}

fn address(user: i64) -> String {
    format!("{ROOT}/users/{user}")
}

fn roles() -> Vec<Choice> {
    Role::ALL.map(|role| (role.as_str().to_owned(), role.as_str().to_owned())).to_vec()
}

fn new_user(viewer: &Viewer, refused: Option<(&Problem, &Form)>) -> Markup {
    let given = |name| refused.map_or("", |(_, form)| form.text(name));
    let problem = refused.map(|(problem, _)| problem);
    let role = match given("role") {
        "" => Role::Member.as_str(),
        role => role,
    };
    html! {
        details open[refused.is_some()] {
            summary { "New user" }
            form.stacked method="post" action={ (ROOT) "/users" } hx-morph-skip {
                (proof(viewer))
                (input(("text", "name", "Name"), given("name"), problem))
                (input(("email", "email", "E-mail"), given("email"), problem))
                (choice(("role", "Role"), &roles(), role))
                label { "Password" input type="password" name="password" autocomplete="new-password" required; }
                button.main type="submit" { "Create" }
            }
        }
    }
}

pub(super) async fn create(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let mut user = Map::new();
    for name in ["name", "email", "role", "password"] {
        user.insert(name.to_owned(), json!(form.text(name)));
    }
    match viewer.client.post::<Person>("/users", &Value::Object(user)).await {
        Ok(user) => Ok(viewer.go(&address(user.id), "The user is created.")),
        Err(problem) => list(&viewer, "", Some((&problem, &form))).await,
    }
}

pub(super) async fn one(viewer: Viewer) -> Result<HttpResponse, Problem> {
    page(&viewer, None).await
}

async fn page(viewer: &Viewer, problem: Option<&Problem>) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let user: Person = viewer.client.get(&format!("/users/{id}"), &[]).await?;
    let of_user = id.to_string();
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        dl.facts {
            dt { "E-mail" } dd { bdi { (user.email) } }
            dt { "Role" } dd { (badge(user.role.as_str())) }
            dt { "Since" } dd { (time(&user.created_at)) }
        }
        p { a href=(target(&format!("{ROOT}/tasks"), &[("userId", &of_user)])) { "Their tasks" } }
        @if viewer.is_admin() {
            h2 { "Change" }
            form.stacked method="post" action=(address(id)) {
                (proof(viewer))
                (input(("text", "name", "Name"), user.given_name(), problem))
                (input(("email", "email", "E-mail"), &user.email, problem))
                (choice(("role", "Role"), &roles(), user.role.as_str()))
                (input(("password", "password", "New password; empty leaves the old one"), "", problem))
                button.main type="submit" { "Save" }
            }
            (access(viewer, &format!("/users/{id}"), &address(id)).await?)
            h2 { "Delete" }
            form method="post" action={ (address(id)) "/delete" }
                data-ask="Delete this user? Their tasks stay, for nobody." {
                (proof(viewer))
                button.danger type="submit" { "Delete this user" }
            }
        }
    };
    let status = problem.map_or(StatusCode::OK, ResponseError::status_code);
    Ok(Page { place: Place::Users, title: user.name(), live: "" }.show_as(status, viewer, &content))
}

pub(super) async fn update(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let mut change = Map::new();
    for name in ["name", "email", "role", "password"] {
        // Some users have no name, and an empty password leaves the old one.
        if !(["name", "password"].contains(&name) && form.text(name).is_empty()) {
            change.insert(name.to_owned(), json!(form.text(name)));
        }
    }
    let sent = viewer.client.patch(&format!("/users/{id}"), None, &Value::Object(change)).await;
    match sent {
        Ok(()) => Ok(viewer.go(&address(id), "The user is changed.")),
        Err(problem) => page(&viewer, Some(&problem)).await,
    }
}

pub(super) async fn delete(viewer: Viewer, _form: Form) -> Result<HttpResponse, Problem> {
    viewer.client.delete(&format!("/users/{}", viewer.id("id")?), None).await?;
    Ok(viewer.go(&format!("{ROOT}/users"), "The user is deleted."))
}

/// Ends a session or revokes a token of somebody else.
pub(super) async fn end(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let what = Access::of_path(&viewer.segment("what"))?;
    let one = form.number("id");
    viewer.client.delete(&format!("/users/{id}/{}/{one}", what.path()), None).await?;
    Ok(viewer.go(&address(id), what.ended()))
}
