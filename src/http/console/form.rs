//! Forms that were sent. Reading one is the only way to get at its fields, and it refuses a form
//! that another site's page has made (cross-site request forgery): the browser says where a request
//! comes from (`Sec-Fetch-Site`, `Origin`), and each form brings a token that only the console's
//! pages of this browser and this session have.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::NaiveDateTime;
use futures_util::future::LocalBoxFuture;
use maud::{Markup, html};
use percent_encoding::percent_decode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::cookies::{self, FORM, SESSION};
use super::problem::Problem;
use super::viewer::Viewer;
use crate::http::middleware::hosts::is_own;

/// How long a browser may take to send a form.
const SLOWEST: Duration = Duration::from_secs(10);

/// The media type of forms. Others than it (files, plain text) are not read as if they were one.
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The field with the token.
const TOKEN: &str = "formToken";

/// The fields of a form, once it is known that the console wrote it.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// A form with these fields.
    #[cfg(test)]
    pub(super) fn of(fields: Vec<(String, String)>) -> Form {
        Form(fields)
    }

    /// What this field says; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// What each field of this name says, such as each box that is ticked.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// Whether a box is ticked, or a button of this name was pressed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// A text as JSON; null if it is empty.
    pub(super) fn optional(&self, name: &str) -> Value {
        match self.text(name) {
            "" => Value::Null,
            // Browsers send lines with the ends that RFC 7578 wants.
            text => Value::String(text.replace("\r\n", "\n")),
        }
    }

    /// A number as JSON; null if it is empty. The API refuses what is none, and names the field.
    pub(super) fn number(&self, name: &str) -> Value {
        match self.text(name).trim() {
            "" => Value::Null,
            text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
        }
    }

    /// A time as JSON. Browsers send it without its zone, which is UTC here: a script turns the
    /// reader's time into UTC before the form is sent.
    pub(super) fn time(&self, name: &str) -> Value {
        match utc(self.text(name)) {
            text if text.is_empty() => Value::Null,
            text => Value::String(text),
        }
    }
}

/// The time that a field of a browser means, as the API takes it. What is none stays as it is, for
/// the API to refuse.
pub(super) fn utc(text: &str) -> String {
    let text = text.trim();
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f"];
    let read = formats.iter().find_map(|f| NaiveDateTime::parse_from_str(text, f).ok());
    read.map_or_else(|| text.to_owned(), |time| format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S")))
}

impl FromRequest for Form {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Form, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let body = Bytes::from_request(&request, payload);
        Box::pin(async move {
            if is_foreign(&request) {
                let detail = "Open the console in a tab of its own, and send the form from there.";
                return Err(refused("The form comes from another site", detail));
            }
            if !is_form(&request) {
                let (title, detail) = ("This is no form", format!("Send {MEDIA_TYPE}."));
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, title, &detail));
            }
            let body = timeout(SLOWEST, body).await.map_err(|_| {
                Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "The form took too long",
                    "Send it again.",
                )
            })?;
            let body = body.map_err(|_| {
                let detail = "256 kB are the most that a form may have.";
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large", detail)
            })?;
            // The parser would put other characters in their place.
            if percent_decode(&body).decode_utf8().is_err() {
                let (title, detail) = ("The form can't be read", "Send its text in UTF-8.");
                return Err(Problem::new(StatusCode::BAD_REQUEST, title, detail));
            }
            let fields = url::form_urlencoded::parse(&body).into_owned();
            let form = Form(fields.collect());
            let key = cookies::read(&request, FORM);
            if key.is_none_or(|key| form.text(TOKEN) != token(&request, &key)) {
                let detail = "Nothing was done. Go back, reload the page, and send the form again.";
                return Err(refused("The form is from before you signed in or out", detail));
            }
            Ok(form)
        })
    }
}

fn refused(title: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, title, detail)
}

/// The token of forms in this browser: it changes with the session, and only who has both cookies
/// can make it.
pub(super) fn token(request: &HttpRequest, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"a form of the console\0");
    hash.update(cookies::read(request, SESSION).unwrap_or_default());
    hash.update(b"\0");
    hash.update(key);
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

fn is_form(request: &HttpRequest) -> bool {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|given| given.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// Whether a browser says that another site's page sends this. A client that says nothing is judged
/// by the token alone.
fn is_foreign(request: &HttpRequest) -> bool {
    let header =
        |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = header(HOST.as_str()).unwrap_or_default();
    header("sec-fetch-site").is_some_and(|site| site != "same-origin")
        || header(ORIGIN.as_str()).is_some_and(|origin| !is_own(origin, host))
}

/// The hidden field that every form of the console has.
pub(super) fn proof(viewer: &Viewer) -> Markup {
    proof_of(&viewer.form_token)
}

/// The same, where nobody has signed in.
pub(super) fn proof_of(token: &str) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(token); }
}

#[cfg(test)]
mod tests {
    use actix_web::cookie::Cookie;
    use actix_web::test::TestRequest;

    use super::*;

    async fn read(request: TestRequest, body: String) -> Result<Form, Problem> {
        let request = request.insert_header((CONTENT_TYPE, MEDIA_TYPE));
        let (request, mut payload) = request.set_payload(body).to_http_parts();
        Form::from_request(&request, &mut payload).await
    }

    fn request(session: &str) -> TestRequest {
        let host = ("host", "tasks.example");
        TestRequest::post()
            .insert_header(host)
            .cookie(Cookie::new(FORM, "key"))
            .cookie(Cookie::new(SESSION, session.to_owned()))
    }

    #[actix_web::test]
    async fn only_a_form_of_the_same_session_is_read() {
        let token = token(&request("mine").to_http_request(), "key");
        let body = format!("{TOKEN}={token}&title=a%26b");
        let form = read(request("mine"), body.clone()).await.unwrap();
        assert_eq!(form.text("title"), "a&b");
        assert_eq!(read(request("another"), body.clone()).await.err().unwrap().status, 403);
        assert_eq!(read(request("mine"), "title=x".into()).await.err().unwrap().status, 403);
        let without = TestRequest::post().cookie(Cookie::new(SESSION, "mine"));
        assert_eq!(read(without, body).await.err().unwrap().status, 403);
    }

    #[actix_web::test]
    async fn a_form_of_another_site_is_refused_whatever_it_brings() {
        let token = token(&request("mine").to_http_request(), "key");
        for (header, fine) in [
            (("sec-fetch-site", "same-origin"), true),
            (("sec-fetch-site", "same-site"), false),
            (("sec-fetch-site", "cross-site"), false),
            (("origin", "https://tasks.example"), true),
            (("origin", "https://evil.example"), false),
            (("origin", "null"), false),
        ] {
            let request = request("mine").insert_header(header);
            assert_eq!(read(request, format!("{TOKEN}={token}")).await.is_ok(), fine, "{header:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_left_to_the_api_to_refuse() {
        let fields = [("n", "12"), ("m", "x"), ("t", "2026-01-02T03:04"), ("u", "soon"), ("e", "")];
        let form = Form(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        assert_eq!([form.number("n"), form.number("m")], [json!(12), json!("x")]);
        assert_eq!(
            [form.time("t"), form.time("u")],
            [json!("2026-01-02T03:04:00Z"), json!("soon")]
        );
        assert_eq!(
            [form.optional("e"), form.time("e"), form.number("-")],
            [Value::Null, Value::Null, Value::Null]
        );
    }
}
