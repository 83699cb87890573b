//! The reader's own account: password, sessions and API tokens.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use crate::http::console::ROOT;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{
    Listed, Row, badge, copied, input, table, time, time_input, time_or,
};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// By what somebody has access.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Sessions,
    Tokens,
}

impl Access {
    pub(super) fn of_path(name: &str) -> Result<Access, Problem> {
        match name {
            "sessions" => Ok(Access::Sessions),
            "tokens" => Ok(Access::Tokens),
            _ => Err(Problem::missing()),
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Access::Sessions => "sessions",
            Access::Tokens => "tokens",
        }
    }

    pub(super) fn ended(self) -> &'static str {
        match self {
            Access::Sessions => "The session is ended.",
            Access::Tokens => "The token is revoked.",
        }
    }
}

/// A session or a token, as lists have it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    id: i64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    current: bool,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

/// A token that was just made.
#[derive(Deserialize)]
struct Made {
    token: String,
}

/// The sessions and tokens of a user: `path` is theirs in the API, `page` that of the console.
pub(super) async fn access(viewer: &Viewer, path: &str, page: &str) -> Result<Markup, Problem> {
    let (sessions, tokens) = (format!("{path}/sessions"), format!("{path}/tokens"));
    let (sessions, tokens): (Listed<Granted>, Listed<Granted>) = futures_util::future::try_join(
        viewer.client.get(&sessions, &[("limit", "50")]),
        viewer.client.get(&tokens, &[("limit", "50")]),
    )
    .await?;
    Ok(html! {
        h2 { "Sessions" }
        (list(viewer, Access::Sessions, &sessions.data, page))
        h2 { "API tokens" }
        (list(viewer, Access::Tokens, &tokens.data, page))
    })
}

fn list(viewer: &Viewer, what: Access, granted: &[Granted], page: &str) -> Markup {
    let row = |one: &Granted| {
        let name = html! {
            bdi { (one.name.as_deref().unwrap_or("session")) }
            @if one.current { " " (badge("this one")) }
        };
        let end = html! {
            form method="post" action={ (page) "/" (what.path()) "/end" } {
                (proof(viewer))
                input type="hidden" name="id" value=(one.id);
                button.danger type="submit" aria-label={ "End " (what.path()) " " (one.id) } { "End" }
            }
        };
        Row::new([
            name,
            time(&one.created_at),
            time_or(one.last_used_at.as_ref(), "never"),
            time_or(one.expires_at.as_ref(), "never"),
            end,
        ])
    };
    let rows: Vec<Row> = granted.iter().map(row).collect();
    table(&["~What", "Made", "Last used", "Ends", "Orders"], &rows, "There is none.")
}

pub(super) async fn show(viewer: Viewer) -> Result<HttpResponse, Problem> {
    page(&viewer, None, None).await
}

async fn page(
    viewer: &Viewer,
    made: Option<&Made>,
    problem: Option<&Problem>,
) -> Result<HttpResponse, Problem> {
    let Some(user) = &viewer.who.user else {
        let title = "Nobody signs in here, so there are no accounts";
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            title,
            "TASKD_AUTH=tokens asks for tokens.",
        ));
    };
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        @if let Some(made) = made {
            div.note role="status" {
                p { "The new token. It is shown now, and never again:" }
                p { (copied(&made.token)) }
            }
        }
        dl.facts {
            dt { "Name" } dd { bdi { (user.name()) } }
            dt { "E-mail" } dd { bdi { (user.email) } }
            dt { "Role" } dd { (badge(viewer.who.role.as_str())) }
            dt { "Signed in until" } dd { (time_or(viewer.who.expires_at.as_ref(), "revoked")) }
        }
        (access(viewer, "", &format!("{ROOT}/account")).await?)
        @if viewer.may_write() {
            h3 { "New token" }
            form.filter method="post" action={ (ROOT) "/account/tokens" } {
                (proof(viewer))
                (input(("text", "name", "What it is for"), "", problem))
                (time_input(("expiresAt", "Ends"), None, problem))
                button type="submit" { "Make a token" }
            }
        }
        h2 { "Password" }
        form.stacked method="post" action={ (ROOT) "/account/password" } {
            (proof(viewer))
            label { "Password now" input type="password" name="currentPassword" autocomplete="current-password" required; }
            label { "New password" input type="password" name="password" autocomplete="new-password" required; }
            button type="submit" { "Change the password" }
        }
    };
    let status = problem.map_or(StatusCode::OK, ResponseError::status_code);
    let page = Page { place: Place::Account, title: "Account", live: "" };
    Ok(page.show_as(status, viewer, &content))
}

pub(super) async fn make_token(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let order = json!({ "name": form.text("name"), "expiresAt": form.time("expiresAt") });
    match viewer.client.post::<Made>("/tokens", &order).await {
        Ok(made) => page(&viewer, Some(&made), None).await,
        Err(problem) => page(&viewer, None, Some(&problem)).await,
    }
}

pub(super) async fn change_password(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let Some(user) = &viewer.who.user else { return Err(Problem::missing()) };
    let change = json!({
        "password": form.text("password"), "currentPassword": form.text("currentPassword"),
    });
    match viewer.client.patch(&format!("/users/{}", user.id), None, &change).await {
        // A new password ends the sessions, this one too perhaps: the next page asks if it must.
        Ok(()) => Ok(viewer.go(&format!("{ROOT}/account"), "The password is changed.")),
        Err(problem) => page(&viewer, None, Some(&problem)).await,
    }
}

/// Ends a session or revokes a token of the reader.
pub(super) async fn end(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let what = Access::of_path(&viewer.segment("what"))?;
    let one = form.number("id");
    viewer.client.delete(&format!("/{}/{one}", what.path()), None).await?;
    Ok(viewer.go(&format!("{ROOT}/account"), what.ended()))
}
