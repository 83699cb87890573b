//! What the API refused, as a page.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpResponse, ResponseError};
use maud::{Markup, html};
use serde::Deserialize;

use super::ROOT;
use super::client::target;
use super::layout;
use super::viewer::Viewer;

/// A problem that the API describes (RFC 9457), or one of the console's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    /// The HTTP status.
    pub(super) status: u16,
    /// What it is, in a few words.
    pub(super) title: Box<str>,
    /// What to do about it.
    #[serde(default)]
    pub(super) detail: Box<str>,
    /// The request that has it.
    #[serde(default)]
    request_id: Option<Box<str>>,
    /// What is wrong with which part of the request.
    #[serde(default)]
    errors: Box<[Fault]>,
    /// Where somebody who is not signed in wanted to go.
    #[serde(skip)]
    wanted: Option<Box<str>>,
    /// After how many seconds the same may work, if the API says so.
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// What is wrong with a part of a request.
#[derive(Debug, Clone, Deserialize)]
struct Fault {
    pointer: String,
    message: String,
}

impl Problem {
    /// The problem in an answer of the API.
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Problem {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            Problem::new(status, status.canonical_reason().unwrap_or("It did not work"), "")
        })
    }

    /// A problem of the console's own.
    pub(super) fn new(status: StatusCode, title: &str, detail: &str) -> Problem {
        Problem {
            status: status.as_u16(),
            title: title.into(),
            detail: detail.into(),
            request_id: None,
            errors: Box::default(),
            wanted: None,
            retry_after: None,
        }
    }

    /// A request or an answer that can't be read.
    pub(super) fn unreadable() -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "The request can't be read", "Check the address.")
    }

    /// Nothing is at this address.
    pub(super) fn missing() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "There is no such page", "It may have been deleted.")
    }

    /// The same, met on the way to this page.
    pub(super) fn on_the_way_to(self, address: &str) -> Problem {
        Problem { wanted: Some(address.into()), ..self }
    }

    /// The same, which may be over in so many seconds.
    pub(super) fn over_in(self, retry_after: Option<u32>) -> Problem {
        Problem { retry_after, ..self }
    }

    /// Whether somebody has to sign in first.
    pub(super) fn needs_sign_in(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED.as_u16()
    }

    /// Whether another change came first.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED.as_u16()
    }

    /// What is wrong with this field of a form, if something is.
    pub(super) fn about(&self, field: &str) -> Option<&str> {
        let of_field = |fault: &&Fault| fault.pointer.trim_start_matches('/') == field;
        self.errors.iter().find(of_field).map(|fault| fault.message.as_str())
    }

    /// The problem in a box, to stand above a form.
    pub(super) fn show(&self) -> Markup {
        html! {
            div.problem role="alert" {
                strong { (self.title) }
                @if !self.detail.is_empty() && self.errors.is_empty() { p { (self.detail) } }
                @if !self.errors.is_empty() {
                    ul { @for fault in &self.errors {
                        li { code { (fault.pointer.trim_start_matches('/')) } " " (fault.message) }
                    } }
                }
                @match self.retry_after {
                    Some(1) => { p { "Try again in a second." } }
                    Some(seconds) => { p { "Try again in " (seconds) " seconds." } }
                    None => {}
                }
                @if let Some(id) = &self.request_id {
                    p.faint { "Request " code { (id) } }
                }
            }
        }
    }
}

impl Problem {
    /// The problem, and where to go from here.
    fn page(&self) -> Markup {
        html! {
            (self.show())
            p {
                a href=(ROOT) { "To the console" } " "
                a href={ (ROOT) "/tasks" } { "Tasks" }
                @if self.status >= 500 { " " a href={ (ROOT) "/doctor" } { "Doctor: what is wrong, and what mends it" } }
            }
        }
    }

    /// The page with the time to wait, for programs.
    fn timed(&self, mut page: HttpResponse) -> HttpResponse {
        if let Some(seconds) = self.retry_after {
            page.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        page
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.title)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if self.needs_sign_in() {
            let wanted = self.wanted.as_deref().unwrap_or_default();
            let page = target(&format!("{ROOT}/sign-in"), &[("next", wanted)]);
            return HttpResponse::SeeOther().insert_header((LOCATION, page)).finish();
        }
        self.timed(layout::bare(self.status_code(), &self.title, &self.page()))
    }
}

/// Puts the navigation around the page of a problem, if it is known who looks at it.
pub(super) async fn framed(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = next.call(request).await?;
    let problem = answer.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem.filter(|problem| !problem.needs_sign_in()).cloned() else {
        return Ok(answer);
    };
    let viewer = match Viewer::of_failed(answer.request()) {
        // Whoever waited for an API that is away or over its limit is not kept waiting again.
        None if problem.retry_after.is_none() && problem.status < 500 => {
            Viewer::from_request(answer.request(), &mut Payload::None).await.ok()
        }
        known => known,
    };
    let Some(viewer) = viewer else { return Ok(answer) };
    let page = layout::unlisted(problem.status_code(), &problem.title, &viewer, &problem.page());
    Ok(answer.into_response(problem.timed(page)))
}
