//! Who looks at a page, and the client that acts for them.

use actix_web::cookie::Cookie;
use actix_web::dev::Payload;
use actix_web::http::header::LOCATION;
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::client::{Api, Client};
use super::cookies::{self, FORM, NOTE, SECRET, SESSION};
use super::form;
use super::problem::Problem;
use super::{InDemo, ROOT};
use crate::domain::user::Role;
use crate::ground::secret::Secret;

/// What `GET /sessions/current` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Who {
    /// The user; `None` on an instance that asks nobody for a token.
    pub(super) user: Option<Person>,
    /// `session`, `token` or `none`.
    pub(super) kind: String,
    /// What they may do.
    pub(super) role: Role,
    /// When the session or the token ends.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// A user, as pages show one.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Person {
    pub(super) id: i64,
    name: Option<String>,
    pub(super) email: String,
    pub(super) role: Role,
    pub(super) created_at: DateTime<Utc>,
}

impl Person {
    /// What to call them: by their address, if they have no name.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.email)
    }

    /// The name they were given; empty if none.
    pub(super) fn given_name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Who asks for a page. A handler that takes one answers nobody who has not signed in.
pub(super) struct Viewer {
    /// Asks the API on their behalf.
    pub(super) client: Client,
    /// Who they are.
    pub(super) who: Who,
    /// The path and query of the page.
    pub(super) address: String,
    /// What forms must bring back.
    pub(super) form_token: String,
    /// A line that the page before has left for this one.
    pub(super) note: Option<String>,
    /// Cookies that go with the page.
    pub(super) cookies: Vec<Cookie<'static>>,
    /// Whether there is something to break.
    pub(super) in_demo: bool,
    request: HttpRequest,
}

impl Viewer {
    /// The one who sent this request.
    fn new(request: HttpRequest, client: Client, who: Who) -> Viewer {
        let mut cookies = Vec::new();
        let form_key = form_key(&request, &mut cookies);
        let note = cookies::read(&request, NOTE);
        if note.is_some() {
            cookies.push(cookies::gone(&request, NOTE));
        }
        let note = note.map(|note| percent_decode_str(&note).decode_utf8_lossy().into_owned());
        let form_token = form::token(&request, &form_key);
        let address = address(&request).to_owned();
        let in_demo = request.app_data::<InDemo>().is_some_and(|is| is.0);
        Viewer { client, who, address, form_token, note, cookies, in_demo, request }
    }

    /// The one who sent a request that has failed, if it was known by then who that is.
    pub(super) fn of_failed(request: &HttpRequest) -> Option<Viewer> {
        let who = request.extensions().get::<Who>().cloned()?;
        let token = cookies::read(request, SESSION).map(Secret::new);
        Some(Viewer::new(request.clone(), client(request, token).ok()?, who))
    }

    /// Whether they may do anything.
    pub(super) fn is_admin(&self) -> bool {
        self.who.role == Role::Admin
    }

    /// Whether they see what operators see.
    pub(super) fn is_operator(&self) -> bool {
        matches!(self.who.role, Role::Admin | Role::Viewer)
    }

    /// Whether they may change tasks.
    pub(super) fn may_write(&self) -> bool {
        self.who.role != Role::Viewer
    }

    /// Lets only those go on who may change tasks.
    ///
    /// # Errors
    /// They may only look.
    pub(super) fn writes(&self) -> Result<(), Problem> {
        let detail = "Viewers look at everything and change nothing. Ask an admin.";
        let refused = || Problem::new(StatusCode::FORBIDDEN, "Not allowed", detail);
        self.may_write().then_some(()).ok_or_else(refused)
    }

    /// The id in this part of the path, such as `{id}`.
    ///
    /// # Errors
    /// It is no whole number, so nothing is there.
    pub(super) fn id(&self, name: &str) -> Result<i64, Problem> {
        self.text(name).parse().ok().filter(|id| *id > 0).ok_or_else(Problem::missing)
    }

    /// The text in this part of the path.
    pub(super) fn text(&self, name: &str) -> &str {
        self.request.match_info().query(name)
    }

    /// The text in this part of the path, as the API takes it in a path.
    pub(super) fn segment(&self, name: &str) -> String {
        super::client::segment(self.text(name))
    }

    /// Sends the browser to another page, which shows a secret once ([`Viewer::secret`]).
    pub(super) fn go_with_secret(&self, page: &str, note: &str, secret: &str) -> HttpResponse {
        let mut response = self.go(page, note);
        // The only way to fail is a value that no header can have, and this one is encoded.
        let _ = response.add_cookie(&cookies::secret(&self.request, inside(page), secret));
        response
    }

    /// The secret that was left for this page. Once the page is answered, it is gone.
    pub(super) fn secret(&mut self, page: &str) -> Option<String> {
        let secret = cookies::read(&self.request, SECRET)?;
        let mut gone = cookies::gone(&self.request, SECRET);
        gone.set_path(page.to_owned());
        self.cookies.push(gone);
        Some(percent_decode_str(&secret).decode_utf8_lossy().into_owned())
    }

    /// Sends the browser to another page, with a line for it.
    pub(super) fn go(&self, page: &str, note: &str) -> HttpResponse {
        let mut response = HttpResponse::SeeOther();
        if !note.is_empty() {
            response.cookie(cookies::note(&self.request, note));
        }
        response.insert_header((LOCATION, inside(page))).finish()
    }
}

impl FromRequest for Viewer {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Viewer, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let token = cookies::read(&request, SESSION).map(Secret::new);
            let client = client(&request, token)?;
            // Where a form is sent there is nothing to look at after signing in.
            let wanted = if request.method() == Method::GET { address(&request) } else { ROOT };
            let who: Who = client
                .get("/sessions/current", &[])
                .await
                .map_err(|problem| problem.on_the_way_to(wanted))?;
            request.extensions_mut().insert(who.clone());
            Ok(Viewer::new(request, client, who))
        })
    }
}

/// The path and query of a request.
fn address(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or("", |target| target.as_str())
}

/// A client for whoever sent this request.
pub(super) fn client(request: &HttpRequest, token: Option<Secret>) -> Result<Client, Problem> {
    let api = request.app_data::<Api>().cloned().ok_or_else(Problem::unreadable)?;
    Ok(Client::new(api, request, token))
}

/// The random half of the proof, made now if the browser has none.
pub(super) fn form_key(request: &HttpRequest, cookies: &mut Vec<Cookie<'static>>) -> String {
    cookies::read(request, FORM).unwrap_or_else(|| {
        let key = uuid::Uuid::new_v4().simple().to_string();
        cookies.push(cookies::cookie(request, FORM, key.clone()));
        key
    })
}

/// The page to go to: one of the console's, whatever the link says.
pub(super) fn inside(asked: &str) -> &str {
    let rest = asked.strip_prefix(ROOT);
    let inside = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let path = asked.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let stays = !["..", "//", "%2e", "%2f", "%5c"].iter().any(|part| path.contains(part));
    let plain = asked.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && stays;
    if inside && plain { asked } else { ROOT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for (asked, gone_to) in [
            ("/console/events?state=dead", "/console/events?state=dead"),
            ("/console", "/console"),
            ("https://evil.example", "/console"),
            ("//evil.example", "/console"),
            ("/console.evil.example", "/console"),
            ("/console/\\evil", "/console"),
            ("/console/..//evil.example", "/console"),
            ("/console/%2E%2e/tasks", "/console"),
            ("/console/\r\nSet-Cookie: x", "/console"),
            ("", "/console"),
        ] {
            assert_eq!(inside(asked), gone_to, "{asked:?}");
        }
    }
}
