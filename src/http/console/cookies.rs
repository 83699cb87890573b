//! The console's cookies. None leaves the console (`Path`), none can be read by a script
//! (`HttpOnly`), and none goes along with a request that another site's page makes other than by
//! a link (`SameSite=Lax`).

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time};
use chrono::{DateTime, Utc};

use super::ROOT;

/// The token of whoever has signed in.
pub(super) const SESSION: &str = "taskd_session";
/// The random half of what proves that a form was written by the console.
pub(super) const FORM: &str = "taskd_form";
/// A line to be shown once on the next page.
pub(super) const NOTE: &str = "taskd_note";

/// A secret to be shown once on the next page.
pub(super) const SECRET: &str = "taskd_secret";

/// How long a line waits to be shown: longer than any redirect takes.
const NOTE_SECONDS: i64 = 30;

/// The value of a cookie that the request brings.
pub(super) fn read(request: &HttpRequest, name: &str) -> Option<String> {
    request.cookie(name).map(|cookie| cookie.value().to_owned()).filter(|value| !value.is_empty())
}

/// A cookie until the browser is closed.
pub(super) fn cookie(request: &HttpRequest, name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build(name, value)
        .path(ROOT)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_behind_tls(request))
        .finish()
}

/// The cookie of a session, which ends with it.
pub(super) fn session(
    request: &HttpRequest,
    token: String,
    ends: Option<DateTime<Utc>>,
) -> Cookie<'static> {
    let mut cookie = cookie(request, SESSION, token);
    if let Some(ends) = ends {
        let seconds = (ends - Utc::now()).num_seconds().max(0);
        cookie.set_max_age(time::Duration::seconds(seconds));
    }
    cookie
}

/// A line for the next page.
pub(super) fn note(request: &HttpRequest, line: &str) -> Cookie<'static> {
    let line = super::client::segment(line);
    let mut cookie = cookie(request, NOTE, line);
    cookie.set_max_age(time::Duration::seconds(NOTE_SECONDS));
    cookie
}

/// A secret for this page alone. The page may fail, and be asked for again within a minute.
pub(super) fn secret(request: &HttpRequest, page: &str, secret: &str) -> Cookie<'static> {
    let mut cookie = cookie(request, SECRET, super::client::segment(secret));
    cookie.set_path(page.to_owned());
    cookie.set_max_age(time::Duration::minutes(1));
    cookie
}

/// A cookie that takes this one away.
pub(super) fn gone(request: &HttpRequest, name: &'static str) -> Cookie<'static> {
    let mut cookie = cookie(request, name, String::new());
    cookie.make_removal();
    cookie
}

/// Whether the browser speaks TLS, with a proxy in between. A client that lies only gets a cookie
/// that it won't send back.
fn is_behind_tls(request: &HttpRequest) -> bool {
    let scheme = request.headers().get("x-forwarded-proto");
    // Of several proxies, the first is the one that the browser speaks to.
    let first = scheme.and_then(|scheme| scheme.as_bytes().split(|byte| *byte == b',').next());
    first.is_some_and(|first| first.trim_ascii().eq_ignore_ascii_case(b"https"))
}
