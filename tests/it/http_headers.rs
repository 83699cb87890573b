//! The headers that browsers go by.

use serde_json::json;

use taskd_testing::{Answer, World};

const ORIGIN: &str = "https://app.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_browsers_may_do_with_it() {
    let world = World::embedded();
    let serve = world.serve().await;
    let apart = World::cut_off();
    let work = apart.work_in_vain().await;
    let api = serve.api();
    let created = api.post("/tasks", json!({ "title": "t" })).await;
    for (what, answer, caching) in [
        ("POST /tasks", created, "no-store"),
        ("/tasks/1", api.get("/tasks/1").await, "private, no-cache"),
        ("/tasks", api.get("/tasks").await, "private, no-cache"),
        ("/tasks/1/activity", api.get("/tasks/1/activity").await, "private, no-cache"),
        ("/tasks/9", api.get("/tasks/9").await, "no-store"),
        ("/tasksx", api.get("/tasksx").await, "no-store"),
        ("/users", api.get("/users").await, "no-store"),
        ("DELETE /tasks", api.delete("/tasks").await, "no-store"),
        ("PUT /tasks/1", api.put("/tasks/1", json!(1)).await, "no-store"),
        ("/healthz", api.get("/healthz").await, "no-store"),
        ("/metrics", api.get("/metrics").await, "no-store"),
        ("/openapi.json", api.get("/openapi.json").await, "no-store"),
        ("/docs/", api.get("/docs/").await, "public, max-age=3600"),
        ("/docs/swagger-ui.css", api.get("/docs/swagger-ui.css").await, "public, max-age=3600"),
        ("/docs/no.js", api.get("/docs/no.js").await, "no-store"),
        ("a worker's", work.api().get("/readyz").await, "no-store"),
    ] {
        assert_eq!(answer.header("cache-control"), caching, "{what}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{what}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{what}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
        assert_eq!(policy.contains("script-src 'self'"), what.starts_with("/docs"), "{what}");
        assert_eq!(answer.header("strict-transport-security"), "", "{what}: the proxy's promise");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_docs_has_nothing_that_its_policy_forbids() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let page = serve.api().get("/docs/").await;
    for tag in page.text.split("<script").skip(1) {
        let (attributes, rest) = tag.split_once('>').unwrap();
        assert!(attributes.contains("src=\"./"), "a script within the page: {tag}");
        assert!(rest.split("</script").next().unwrap().trim().is_empty(), "{tag}");
    }
    assert!(!page.text.contains(" onload=") && !page.text.contains("javascript:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_nothing_unless_told() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let api = serve.api();
    let preflight = api
        .request("OPTIONS", "/tasks")
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "POST");
    let answer = Answer::of(preflight.send().await.unwrap()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(answer.code(403), "forbidden");
    let read = api.request("GET", "/tasks").header("Origin", ORIGIN);
    let answer = Answer::of(read.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_use_the_api() {
    let world = World::embedded();
    let origins = format!("{ORIGIN}, http://localhost:5173");
    let serve = world.serve_with(&[("CORS_ORIGINS", &origins)]).await;
    let api = serve.api();
    let preflight = async |origin: &str, method: &str, headers: &str| {
        let request = api
            .request("OPTIONS", "/tasks/1")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", headers);
        Answer::of(request.send().await.unwrap()).await
    };
    let headers =
        "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id";
    for origin in [ORIGIN, "http://localhost:5173"] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = preflight(origin, method, headers).await;
            assert_eq!(answer.status, 200, "{method}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert!(answer.header("access-control-allow-methods").contains(method), "{answer:?}");
            let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
            assert!(headers.split(", ").all(|header| allowed.contains(header)), "{allowed}");
            assert_eq!(answer.header("access-control-allow-credentials"), "");
            assert!(!answer.header("x-request-id").is_empty());
        }
    }
    for (origin, method, headers) in [
        ("https://evil.example.com", "GET", ""),
        ("https://app.example.com.evil.example", "GET", ""),
        ("null", "GET", ""),
        (ORIGIN, "TRACE", ""),
        (ORIGIN, "GET", "x-made-up"),
    ] {
        let answer = preflight(origin, method, headers).await;
        // Where nobody is asked for a token, a foreign origin is refused before anything else.
        let status = if origin == ORIGIN { 400 } else { 403 };
        assert_eq!(answer.status, status, "{origin} {method} {headers}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    // Errors can be read as well, or a page could not say what is wrong.
    for (path, status) in [("/tasks", 200), ("/tasks/1", 404), ("/nowhere", 404)] {
        let read = api.request("GET", path).header("Origin", ORIGIN);
        let answer = Answer::of(read.send().await.unwrap()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        for header in ["etag", "location", "retry-after", "ratelimit-limit", "x-request-id", "link"]
        {
            assert!(exposed.contains(header), "{header}: {exposed}");
        }
        assert!(answer.header("vary").to_ascii_lowercase().contains("origin"), "{answer:?}");
        let other = api.request("GET", path).header("Origin", "https://evil.example.com");
        let answer = Answer::of(other.send().await.unwrap()).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_lets_every_page_in() {
    let world = World::embedded();
    let serve = world.serve_with(&[("CORS_ORIGINS", "*")]).await;
    let read = serve.api().request("GET", "/tasks").header("Origin", "https://anybody.example");
    let answer = Answer::of(read.send().await.unwrap()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}
