//! Making and changing webhooks.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use maud::html;

use super::address;
use super::draft::Draft;
use crate::http::console::ROOT;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::pages::tasks::Names;
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;
use crate::webhooks::orders::WebhookView;

/// The page for a new webhook.
pub(super) async fn ask(viewer: Viewer) -> Result<HttpResponse, Problem> {
    viewer.writes()?;
    show_new(&viewer, &Draft::new(), &new_key(), None).await
}

/// A key by which the API makes one webhook, however often the form is sent.
fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn show_new(
    viewer: &Viewer,
    draft: &Draft,
    key: &str,
    problem: Option<&Problem>,
) -> Result<HttpResponse, Problem> {
    let names = names(viewer, problem).await?;
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        form.stacked method="post" action={ (ROOT) "/webhooks" } {
            (proof(viewer))
            input type="hidden" name="key" value=(key);
            (draft.fields(&names, problem))
            button.main type="submit" { "Create" }
        }
    };
    let status = problem.map_or(StatusCode::OK, ResponseError::status_code);
    let page = Page { place: Place::Webhooks, title: "New webhook", live: "" };
    Ok(page.show_as(status, viewer, &content))
}

/// The names to choose from. A form that was refused is shown without them rather than lost.
async fn names(viewer: &Viewer, problem: Option<&Problem>) -> Result<Names, Problem> {
    match Names::load(viewer).await {
        Err(_) if problem.is_some() => Ok(Names::default()),
        loaded => loaded,
    }
}

/// Whether a form that was refused may be sent again.
fn may_be_mended(problem: &Problem) -> bool {
    !matches!(problem.status_code(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

pub(super) async fn create(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let (draft, key) = (Draft::of_form(&form), form.text("key"));
    let made = viewer.client.create::<WebhookView>("/webhooks", key, &draft.members()).await;
    match made {
        Ok(webhook) => {
            let page = address(webhook.id);
            let secret = webhook.secret.unwrap_or_default();
            Ok(viewer.go_with_secret(&page, "The webhook is made.", &secret))
        }
        Err(problem) if may_be_mended(&problem) => {
            // A key that was used for another webhook is of no use any more. Any other stays: the
            // webhook may have been made although the answer says that something failed.
            let is_used = problem.status_code() == StatusCode::UNPROCESSABLE_ENTITY;
            let key = if is_used { new_key() } else { key.to_owned() };
            show_new(&viewer, &draft, &key, Some(&problem)).await
        }
        Err(problem) => Err(problem),
    }
}

/// The page for a change.
pub(super) async fn ask_change(viewer: Viewer) -> Result<HttpResponse, Problem> {
    viewer.writes()?;
    let webhook = super::one::find(&viewer).await?;
    show_change(&viewer, webhook.id, &Draft::of_webhook(&webhook), None).await
}

async fn show_change(
    viewer: &Viewer,
    webhook: i64,
    draft: &Draft,
    problem: Option<&Problem>,
) -> Result<HttpResponse, Problem> {
    let names = names(viewer, problem).await?;
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        form.stacked method="post" action=(address(webhook)) {
            (proof(viewer))
            (draft.fields(&names, problem))
            div.actions {
                button.main type="submit" { "Save" }
                a.button href=(address(webhook)) { "Leave it as it is" }
            }
        }
    };
    let status = problem.map_or(StatusCode::OK, ResponseError::status_code);
    let page = Page { place: Place::Webhooks, title: "Edit the webhook", live: "" };
    Ok(page.show_as(status, viewer, &content))
}

pub(super) async fn update(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let (id, draft) = (viewer.id("id")?, Draft::of_form(&form));
    let path = format!("/webhooks/{id}");
    match viewer.client.patch(&path, None, &draft.changed_members()).await {
        Ok(()) => Ok(viewer.go(&address(id), "The webhook is changed.")),
        Err(problem) if may_be_mended(&problem) => {
            show_change(&viewer, id, &draft, Some(&problem)).await
        }
        Err(problem) => Err(problem),
    }
}
