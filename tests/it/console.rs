//! The console over HTTP: what a browser gets, and what another site's page can't do with it. How it
//! looks and works in a browser is in tests/browser.

use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

use taskd_testing::{Api, World, eventually};

pub const PASSWORD: &str = "correct horse";

/// A browser's cookies and forms, without a browser.
pub struct Visitor {
    pub base: String,
    pub client: Client,
    pub cookies: Vec<(String, String)>,
}

impl Visitor {
    pub fn new(api: &Api) -> Visitor {
        let client = taskd_testing::http().redirect(Policy::none()).build().unwrap();
        Visitor { base: api.base.clone(), client, cookies: Vec::new() }
    }

    pub fn cookie(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for set in headers.get_all(SET_COOKIE) {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub async fn get(&mut self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.base));
        let response = request.header(COOKIE, self.cookie()).send().await.unwrap();
        self.keep(response.headers());
        response
    }

    pub async fn page(&mut self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    /// The token that the forms of a page have.
    pub async fn form_token(&mut self, path: &str) -> String {
        let page = self.get(path).await.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"formToken\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    pub async fn send(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Response {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.header(COOKIE, self.cookie()).send().await.unwrap();
        self.keep(response.headers());
        response
    }

    pub async fn sign_in(&mut self, email: &str) {
        let token = self.form_token("/console/sign-in").await;
        let fields = [("email", email), ("password", PASSWORD), ("formToken", &*token)];
        let response = self.send("/console/sign-in", &fields, &[]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
    }
}

pub async fn user(api: &Api, email: &str, role: &str) {
    let given = json!({ "email": email, "name": email, "role": role, "password": PASSWORD });
    api.post("/users", given).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_browser_is_led_to_the_console_unless_it_is_off() {
    let world = World::new().await;
    let serve = world.serve().await;
    let mut visitor = Visitor::new(&serve.api());
    let html = [("accept", "text/html,application/xhtml+xml")];
    let root = |visitor: &Visitor| visitor.client.get(format!("{}/", visitor.base));
    let response = root(&visitor).header(html[0].0, html[0].1).send().await.unwrap();
    assert_eq!(response.headers()[LOCATION], "/console");
    assert_eq!(serve.api().get("/").await.expect(200)["console"], "/console");
    // Nobody signs in where nobody is asked for a token.
    assert!(visitor.page("/console").await.contains("no sign-in (local)"));
    assert_eq!(visitor.get("/console/nothing").await.status(), StatusCode::NOT_FOUND);

    let off = world.serve_with(&[("CONSOLE", "off")]).await;
    let mut visitor = Visitor::new(&off.api());
    let response = root(&visitor).header(html[0].0, html[0].1).send().await.unwrap();
    assert_eq!(response.headers()[LOCATION], "/docs/");
    assert_eq!(visitor.get("/console").await.status(), StatusCode::NOT_FOUND);
    let refused = world.run_with(&["serve"], &[("CONSOLE", "maybe")]).await.exited(2);
    assert!(refused.stderr.contains("CONSOLE"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_has_not_signed_in_sees_nothing_and_cookies_stay_where_they_belong() {
    let world = World::new().await;
    let token = world.token(&["--user", "1", "--admin"]).await;
    let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let api = serve.api().with_token(&token);
    user(&api, "m@example.com", "member").await;
    let mut visitor = Visitor::new(&api);
    for page in ["/console", "/console/tasks", "/console/events", "/console/live?topics=tasks"] {
        let response = visitor.get(page).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{page}");
        let to = response.headers()[LOCATION].to_str().unwrap();
        assert!(to.starts_with("/console/sign-in?next=%2Fconsole"), "{to}");
    }
    let form_token = visitor.form_token("/console/sign-in").await;
    let wrong = [("email", "m@example.com"), ("password", "wrong"), ("formToken", &*form_token)];
    let refused = visitor.send("/console/sign-in", &wrong, &[]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(!refused.text().await.unwrap().contains("wrong\""), "the password is not sent back");

    let fields = [
        ("email", "m@example.com"),
        ("password", PASSWORD),
        ("formToken", &*form_token),
        ("next", "https://evil.example"),
    ];
    let tls = [("x-forwarded-proto", "https")];
    let response = visitor.send("/console/sign-in", &fields, &tls).await;
    assert_eq!(response.headers()[LOCATION], "/console", "not to another site");
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    for part in
        ["taskd_session=", "HttpOnly", "SameSite=Lax", "Secure", "Path=/console", "Max-Age="]
    {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    let page = visitor.get("/console/tasks").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["cache-control"], "no-store");
    let page = page.text().await.unwrap();
    let session =
        visitor.cookies.iter().find(|(name, _)| name == "taskd_session").unwrap().1.clone();
    assert!(!page.contains(session.as_str()), "the token is in no page");
    assert!(!page.contains("style=") && !page.contains(" onclick="), "{page}");

    // What operators see is for operators.
    for page in ["/console/events", "/console/dead-letters", "/console/audit", "/console/users"] {
        assert_eq!(visitor.get(page).await.status(), StatusCode::FORBIDDEN, "{page}");
    }
    // Signing out ends the session, for whoever else has its token too.
    let form_token = visitor.form_token("/console/tasks").await;
    visitor.send("/console/sign-out", &[("formToken", &form_token)], &[]).await;
    let after = serve.api().with_token(&session).get("/tasks").await;
    assert_eq!(after.code(401), "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_token_signs_in_as_well_and_stays_valid_after_signing_out() {
    let world = World::new().await;
    let token = world.token(&["--user", "1", "--admin"]).await;
    let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let mut visitor = Visitor::new(&serve.api());
    let form_token = visitor.form_token("/console/sign-in").await;
    for (given, status) in [("no such token", 401), ("", 401), (&*token, 303)] {
        let fields = [("token", given), ("formToken", &*form_token)];
        let response = visitor.send("/console/sign-in", &fields, &[]).await;
        assert_eq!(response.status().as_u16(), status, "{given:?}");
    }
    // Somebody without a name, as whom the command line makes, is called by the address.
    let nameless = world.token(&["--user", "nameless@example.com", "--admin"]).await;
    serve.api().with_token(&nameless).get("/users").await.expect(200);
    for page in ["/console", "/console/tasks", "/console/users", "/console/account"] {
        assert!(visitor.get(page).await.status().is_success(), "{page}");
    }
    assert!(visitor.page("/console/users").await.contains("nameless@example.com"));
    let form_token = visitor.form_token("/console/tasks").await;
    visitor.send("/console/sign-out", &[("formToken", &form_token)], &[]).await;
    assert_eq!(visitor.get("/console/tasks").await.status(), StatusCode::SEE_OTHER);
    serve.api().with_token(&token).get("/tasks").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_form_of_another_site_or_session_does_anything() {
    let world = World::new().await;
    let token = world.token(&["--user", "1", "--admin"]).await;
    let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let api = serve.api().with_token(&token);
    for name in ["a", "b"] {
        user(&api, &format!("{name}@example.com"), "member").await;
    }
    let (mut one, mut other) = (Visitor::new(&api), Visitor::new(&api));
    one.sign_in("a@example.com").await;
    other.sign_in("b@example.com").await;
    let own = one.form_token("/console/tasks/new").await;
    let foreign = other.form_token("/console/tasks/new").await;
    let host = api.base.strip_prefix("http://").unwrap();
    let own_origin = format!("http://{host}");
    for (form_token, headers, status) in [
        (&*foreign, vec![], 403),
        ("", vec![], 403),
        (&own, vec![("sec-fetch-site", "cross-site")], 403),
        (&own, vec![("sec-fetch-site", "same-site")], 403),
        (&own, vec![("origin", "https://evil.example")], 403),
        (&own, vec![("origin", "null")], 403),
        (&own, vec![("origin", &own_origin), ("sec-fetch-site", "same-origin")], 303),
    ] {
        let fields = [("title", "t"), ("status", "pending"), ("formToken", form_token)];
        let response = one.send("/console/tasks", &fields, &headers).await;
        assert_eq!(response.status().as_u16(), status, "{headers:?}");
    }
    assert_eq!(api.tasks().await, 1, "only the console's own form made a task");
    // A form from before signing in is of no use after it.
    let mut visitor = Visitor::new(&api);
    let before = visitor.form_token("/console/sign-in").await;
    visitor.sign_in("a@example.com").await;
    let fields = [("title", "t"), ("status", "pending"), ("formToken", &*before)];
    assert_eq!(visitor.send("/console/tasks", &fields, &[]).await.status().as_u16(), 403);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_same_form_sent_twice_makes_one_task() {
    let world = World::new().await;
    let serve = world.serve().await;
    let mut visitor = Visitor::new(&serve.api());
    let page = visitor.page("/console/tasks/new").await;
    let value = |name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let (form_token, key) = (value("formToken"), value("key"));
    let fields =
        [("title", "Once"), ("status", "pending"), ("key", &*key), ("formToken", &*form_token)];
    for _ in 0..2 {
        let response = visitor.send("/console/tasks", &fields, &[]).await;
        assert_eq!(response.headers()[LOCATION], "/console/tasks/1");
    }
    assert_eq!(serve.api().tasks().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_the_api_refuses_is_said_beside_its_field_and_nothing_that_was_written_is_lost() {
    let world = World::new().await;
    let serve = world.serve().await;
    let mut visitor = Visitor::new(&serve.api());
    let form_token = visitor.form_token("/console/tasks/new").await;
    let fields = [
        ("title", ""),
        ("description", "<kept> \"as\" it is"),
        ("status", "pending"),
        ("userId", "x"),
        ("dueAt", "2030-01-31T12:30"),
        ("formToken", &*form_token),
    ];
    let response = visitor.send("/console/tasks", &fields, &[]).await;
    assert_eq!(response.status().as_u16(), 400);
    let page = response.text().await.unwrap();
    for part in [
        "<code>title</code>",
        "<code>userId</code>",
        "&lt;kept&gt; &quot;as&quot; it is",
        "2030-01-31T12:30",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(serve.api().tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_stream_says_that_something_changed_and_ends_with_the_process() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let mut stream =
        api.client.get(format!("{}/console/live?topics=tasks", api.base)).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    // The first look at the database counts as a change.
    let mut said = String::new();
    while !said.contains("event: changed") {
        said.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
    }
    api.task("t", Some(1)).await;
    let next = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await.unwrap();
    assert!(String::from_utf8_lossy(&next.unwrap().unwrap()).contains("event: changed"));
    serve.signal("TERM");
    assert!(serve.exit().await.success());
    let end = tokio::time::timeout(Duration::from_secs(20), async {
        while let Ok(Some(_)) = stream.chunk().await {}
    });
    end.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn files_are_kept_by_browsers_and_pages_are_by_the_apis_rules() {
    let world = World::new().await;
    let serve = world.serve_with(&[("RATE_LIMIT_READS", "12/1m")]).await;
    let mut visitor = Visitor::new(&serve.api());
    let page = visitor.page("/console/sign-in").await;
    let link = page.split('"').find(|part| part.contains("console.css?v=")).unwrap().to_owned();
    let file = visitor.get(&link).await;
    assert_eq!(file.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(
        visitor.get("/console/assets/console.css").await.headers()["cache-control"],
        "no-cache"
    );
    assert_eq!(visitor.get("/console/assets/mod.rs").await.status(), StatusCode::NOT_FOUND);
    // Each page is some requests to the API, which counts them.
    let limited = eventually("the API counts", || async {
        let response = serve.api().client.get(format!("{}/console/tasks", serve.api().base));
        let response = response.send().await.unwrap();
        (response.status() == StatusCode::TOO_MANY_REQUESTS).then_some(response)
    })
    .await;
    assert!(limited.text().await.unwrap().contains("Request "), "it says which request it was");
}
