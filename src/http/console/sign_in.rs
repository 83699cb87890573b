//! Signing in, with an address and a password or with a token, and signing out.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use chrono::{DateTime, Utc};
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::ROOT;
use super::addresses::{form, page_and_form};
use super::cookies::{self, SESSION};
use super::form::{self, Form, proof_of};
use super::layout;
use super::problem::Problem;
use super::viewer::{Viewer, Who, client, form_key, inside};
use crate::ground::secret::Secret;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(page_and_form("/sign-in", ask, sign_in)).service(form("/sign-out", sign_out));
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Asked {
    next: String,
}

/// What `POST /sessions` answers, as far as the console needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    token: String,
    expires_at: DateTime<Utc>,
}

async fn ask(request: HttpRequest, asked: web::Query<Asked>) -> HttpResponse {
    page(&request, StatusCode::OK, inside(&asked.next), None)
}

fn page(
    request: &HttpRequest,
    status: StatusCode,
    next: &str,
    problem: Option<&Problem>,
) -> HttpResponse {
    let mut cookies = Vec::new();
    let token = form::token(request, &form_key(request, &mut cookies));
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        form.stacked method="post" action={ (ROOT) "/sign-in" } {
            (proof_of(&token))
            input type="hidden" name="next" value=(next);
            label { "E-mail" input type="email" name="email" autocomplete="username" required autofocus; }
            label { "Password"
                input type="password" name="password" autocomplete="current-password" required; }
            button.main type="submit" { "Sign in" }
        }
        details {
            summary { "Sign in with a token instead" }
            form.stacked method="post" action={ (ROOT) "/sign-in" } {
                (proof_of(&token))
                input type="hidden" name="next" value=(next);
                label { "Token" input type="password" name="token" autocomplete="off" required; }
                p.faint { "Such as " code { "taskd token create --user you@example.com --admin" } " prints." }
                button type="submit" { "Use this token" }
            }
        }
    };
    layout::bare_with(status, "Sign in", &content, cookies)
}

async fn sign_in(request: HttpRequest, form: Form) -> Result<HttpResponse, Problem> {
    let next = inside(form.text("next"));
    let signed_in = if form.has("token") {
        with_token(&request, form.text("token").trim()).await
    } else {
        with_password(&request, &form).await
    };
    match signed_in {
        Ok((token, ends)) => Ok(HttpResponse::SeeOther()
            .cookie(cookies::session(&request, token, ends))
            .insert_header((LOCATION, next))
            .finish()),
        Err(problem) => Ok(page(&request, problem.status_code(), next, Some(&problem))),
    }
}

type SignedIn = (String, Option<DateTime<Utc>>);

async fn with_password(request: &HttpRequest, form: &Form) -> Result<SignedIn, Problem> {
    let given = json!({ "email": form.text("email"), "password": form.text("password") });
    let session: Session = client(request, None)?.post("/sessions", &given).await?;
    Ok((session.token, Some(session.expires_at)))
}

async fn with_token(request: &HttpRequest, token: &str) -> Result<SignedIn, Problem> {
    let refused = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "The token is not valid",
            "It may have ended, or been revoked. Paste it whole.",
        )
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused());
    }
    let client = client(request, Some(Secret::new(token.to_owned())))?;
    let who: Who = client
        .get("/sessions/current", &[])
        .await
        .map_err(|problem| if problem.needs_sign_in() { refused() } else { problem })?;
    Ok((token.to_owned(), who.expires_at))
}

/// Ends the session. An API token stays valid: only this browser forgets it.
async fn sign_out(
    request: HttpRequest,
    viewer: Viewer,
    _form: Form,
) -> Result<HttpResponse, Problem> {
    if viewer.who.kind == "session" {
        viewer.client.delete("/sessions/current", None).await?;
    }
    Ok(HttpResponse::SeeOther()
        .cookie(cookies::gone(&request, SESSION))
        .insert_header((LOCATION, format!("{ROOT}/sign-in")))
        .finish())
}
