//! What the console answers to requests that no browser sends by itself: they get a page too.

use reqwest::header::{ACCEPT, ALLOW, CONTENT_TYPE, COOKIE, LOCATION};
use reqwest::{Method, Response, StatusCode};

use crate::console::Visitor;
use taskd_testing::World;

async fn sent(visitor: &Visitor, method: &str, path: &str) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = visitor.client.request(method, format!("{}{path}", visitor.base));
    // As programs ask, which get JSON from the API.
    request.header(ACCEPT, "application/json").send().await.unwrap()
}

fn is_page(response: &Response) -> bool {
    response.headers()[CONTENT_TYPE] == "text/html; charset=utf-8"
        && response.headers().contains_key("content-security-policy")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_names_the_methods_that_it_takes() {
    let world = World::embedded();
    let up = world.serve().await;
    let visitor = Visitor::new(&up.api());
    for (method, path, allowed) in [
        ("PUT", "/console", "GET, HEAD"),
        ("POST", "/console", "GET, HEAD"),
        ("POST", "/console/board", "GET, HEAD"),
        ("OPTIONS", "/console/events", "GET, HEAD"),
        ("DELETE", "/console/live?topics=tasks", "GET, HEAD"),
        ("POST", "/console/assets/console.css", "GET, HEAD"),
        ("PUT", "/console/tasks", "GET, HEAD, POST"),
        ("PATCH", "/console/tasks/1", "GET, HEAD, POST"),
        ("DELETE", "/console/sign-in", "GET, HEAD, POST"),
        ("GET", "/console/effects/email/pause", "POST"),
        ("DELETE", "/console/webhooks/1", "GET, HEAD, POST"),
        ("POST", "/console/webhooks/1/deliveries/1", "GET, HEAD"),
        ("GET", "/console/webhooks/1/ping", "POST"),
        ("PUT", "/console/sign-out", "POST"),
    ] {
        let response = sent(&visitor, method, path).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(response.headers()[ALLOW], allowed, "{method} {path}");
        assert!(is_page(&response), "{method} {path}");
        let page = response.text().await.unwrap();
        assert!(page.contains("The method is not allowed here"), "{method} {path}: {page}");
    }
    let head = sent(&visitor, "HEAD", "/console/tasks").await;
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_page_is_a_page_that_says_so_and_a_slash_too_many_leads_on() {
    let world = World::embedded();
    let up = world.serve().await;
    let visitor = Visitor::new(&up.api());
    for (method, path, status) in [
        ("GET", "/console/nothing", 404),
        ("PUT", "/console/nothing", 404),
        ("GET", "/console/tasks/1/nothing", 404),
        ("GET", "/console/tasks/x", 404),
        ("GET", "/console/webhooks/x", 404),
        ("GET", "/console/webhooks/1/deliveries/x", 404),
        ("GET", "/console/live/x", 404),
        ("GET", "/console/assets/nothing", 404),
        ("GET", "/console/%ff", 404),
        ("GET", "/console//evil.example/", 404),
        ("GET", "/console/tasks?search=a&search=b", 400),
        ("GET", "/console/live?topics=tasks&topics=work", 400),
    ] {
        let response = sent(&visitor, method, path).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert!(is_page(&response), "{method} {path}");
    }
    for (path, page) in [
        ("/console/tasks/", "/console/tasks"),
        ("/console/dead-letters/letters/", "/console/dead-letters/letters"),
        ("/console/tasks//?search=a%2Fb/", "/console/tasks?search=a%2Fb/"),
    ] {
        let response = sent(&visitor, "GET", path).await;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT, "{path}");
        assert_eq!(response.headers()[LOCATION], page, "{path}");
    }
    let overview = reqwest::get(format!("{}/console/", visitor.base)).await.unwrap();
    assert_eq!(overview.status(), StatusCode::OK);
    assert!(overview.text().await.unwrap().contains("<h1>Overview"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_signed_in_gets_no_json_either() {
    let world = World::embedded();
    let up = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let mut visitor = Visitor::new(&up.api());
    let unknown = sent(&visitor, "GET", "/console/nothing").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(is_page(&unknown));
    let known = sent(&visitor, "GET", "/console/tasks").await;
    assert_eq!(known.headers()[LOCATION], "/console/sign-in?next=%2Fconsole%2Ftasks");
    // Where a form is sent there is nothing to come back to.
    let form_token = visitor.form_token("/console/sign-in").await;
    let fields = [("formToken", &*form_token)];
    let form = visitor.send("/console/effects/email/pause", &fields, &[]).await;
    assert_eq!(form.headers()[LOCATION], "/console/sign-in?next=%2Fconsole");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_form_is_refused_and_does_nothing() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let world = World::embedded();
    let up = world.serve().await;
    let mut visitor = Visitor::new(&up.api());
    let form_token = visitor.form_token("/console/tasks/new").await;
    let with_title = |title: &[u8]| {
        [b"status=pending&formToken=", form_token.as_bytes(), b"&title=", title].concat()
    };
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = part("title", "t") + &part("status", "pending") + &part("formToken", &form_token);
    let multipart = (parts + "--b--\r\n").into_bytes();
    for (media_type, body, status, said) in [
        (Some("text/plain"), with_title(b"t"), 415, FORM),
        (Some("multipart/form-data; boundary=b"), multipart, 415, FORM),
        (Some("application/json"), b"{}".to_vec(), 415, FORM),
        (None, with_title(b"t"), 415, FORM),
        (Some(FORM), with_title(b"%ff"), 400, "UTF-8"),
        (Some(FORM), with_title(b"\xff"), 400, "UTF-8"),
        (Some(FORM), with_title(b"%F0%9F%91"), 400, "UTF-8"),
        (
            Some("Application/X-WWW-Form-Urlencoded ; charset=UTF-8"),
            with_title(b"%C3%BC+1"),
            303,
            "",
        ),
    ] {
        let request = visitor.client.post(format!("{}/console/tasks", visitor.base));
        let mut request = request.header(COOKIE, visitor.cookie()).body(body);
        if let Some(media_type) = media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{media_type:?}");
        assert!(status == 303 || is_page(&response), "{media_type:?}");
        let page = response.text().await.unwrap();
        assert!(page.contains(said), "{media_type:?}: {page}");
    }
    assert_eq!(up.api().tasks().await, 1, "only the last was a form");
    assert_eq!(up.api().get("/tasks/1").await.expect(200)["title"], "ü 1");
}
