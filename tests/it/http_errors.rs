//! What a wrong request is answered: always a problem document, never a fault of the server.

use serde_json::{Value, json};

use taskd_testing::{Answer, Api, World};

const JSON: &str = "application/json";

/// A wrong request, and the answer it must get.
struct Case {
    request: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    pointers: &'static [&'static str],
}

fn case(
    request: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
    pointers: &'static [&'static str],
) -> Case {
    Case { request, content_type: Some(JSON), body: body.into(), status, code, pointers }
}

/// A wrong request without a body that can't be met by anything but "validation failed".
fn invalid(request: &'static str, pointers: &'static [&'static str]) -> Case {
    Case { content_type: None, ..case(request, "", 400, "validation_failed", pointers) }
}

fn invalid_body(request: &'static str, body: Value, pointers: &'static [&'static str]) -> Case {
    case(request, body.to_string(), 400, "validation_failed", pointers)
}

/// Holds an answer to be a problem document with all its members.
#[track_caller]
fn problem(what: &str, answer: Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    let id = answer.header("x-request-id").to_owned();
    let document = answer.json();
    assert_eq!(document["requestId"], id, "{what}");
    assert!(!id.is_empty());
    assert_eq!(document["status"], status, "{what}");
    assert_eq!(
        document["type"],
        format!("urn:taskd:problem:{}", document["code"].as_str().unwrap())
    );
    for member in ["title", "detail"] {
        assert!(!document[member].as_str().unwrap().is_empty(), "{what}: {member}");
    }
    document
}

async fn hold(api: &Api, case: Case) {
    let (method, path) = case.request.split_once(' ').unwrap();
    let mut request = api.request(method, path).body(case.body.clone());
    if let Some(kind) = case.content_type {
        request = request.header("Content-Type", kind);
    }
    let answer = Answer::of(request.send().await.unwrap()).await;
    let shown = String::from_utf8_lossy(&case.body).chars().take(80).collect::<String>();
    let what = format!("{} {:?} {shown}", case.request, case.content_type);
    let document = problem(&what, answer, case.status);
    assert_eq!(document["code"], case.code, "{what}: {document}");
    if case.code != "validation_failed" {
        assert_eq!(document["errors"], Value::Null, "{what}");
        return;
    }
    let faults = document["errors"].as_array().unwrap();
    let mut pointers: Vec<&str> =
        faults.iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, case.pointers, "{what}: {document}");
    assert!(faults.iter().all(|fault| !fault["message"].as_str().unwrap().is_empty()), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_object_is_refused() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    let deep = "[".repeat(100_000);
    let deep_member = format!(r#"{{"title":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(256 * 1024));
    for request in [
        "POST /tasks",
        "PUT /tasks/1",
        "PATCH /tasks/1",
        "POST /users",
        "PATCH /users/1",
        "POST /categories",
    ] {
        for malformed in
            ["", "{", "{\"title\":}", "nul", "{} {}", "{\"title\":\"\t\"}", &deep, &deep_member]
        {
            hold(&api, case(request, malformed, 400, "malformed_json", &[])).await;
        }
        hold(&api, case(request, b"{\"title\":\"\xff\"}".to_vec(), 400, "malformed_json", &[]))
            .await;
        hold(&api, case(request, r#"{"userId":1e999}"#, 400, "malformed_json", &[])).await;
        for other in
            [json!([]), json!([{ "title": "t" }]), json!("t"), json!(1), json!(true), json!(null)]
        {
            hold(&api, invalid_body(request, other, &[""])).await;
        }
        hold(&api, case(request, large.clone(), 413, "payload_too_large", &[])).await;
        for kind in [None, Some("text/plain"), Some("application/xml"), Some("json"), Some("")] {
            let wrong = case(request, r#"{"title":"t"}"#, 415, "unsupported_media_type", &[]);
            hold(&api, Case { content_type: kind, ..wrong }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_also_when_its_length_is_not_announced() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let api = serve.api();
    let mut request =
        "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            .to_owned();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    request.push_str(&chunk.repeat(5));
    request.push_str("0\r\n\r\n");
    let address = api.base.strip_prefix("http://").unwrap().to_owned();
    let answered = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        // The server may answer and hang up before it has read the whole.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    });
    let answered = answered.await.unwrap();
    assert!(answered.starts_with("HTTP/1.1 413 "), "{answered}");
    assert!(answered.contains("\"code\":\"payload_too_large\""), "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_member_of_a_body_is_named_at_once() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    let all = ["/categoryId", "/description", "/dueAt", "/extra", "/status", "/title", "/userId"];
    let all: &'static [&'static str] = all.to_vec().leak();
    for request in ["POST /tasks", "PUT /tasks/1", "PATCH /tasks/1"] {
        let wrong_types = json!({ "title": 1, "description": [], "status": "later", "userId": "1",
            "categoryId": 1.5, "dueAt": "tomorrow", "extra": null });
        hold(&api, invalid_body(request, wrong_types, all)).await;
        let out_of_range = json!({ "title": "x".repeat(201), "description": "x".repeat(10_001), "status": 1,
            "userId": 0, "categoryId": -1, "dueAt": "2030-02-30T00:00:00Z", "extra": 1 });
        hold(&api, invalid_body(request, out_of_range, all)).await;
        let nul = json!({ "title": "a\u{0}b", "description": "\u{0}", "dueAt": "\u{0}", "status": "\u{0}" });
        hold(&api, invalid_body(request, nul, &["/description", "/dueAt", "/status", "/title"]))
            .await;
        let missing = json!({ "title": "t", "userId": 999, "categoryId": 999 });
        hold(&api, invalid_body(request, missing, &["/categoryId", "/userId"])).await;
        let (method, path) = request.split_once(' ').unwrap();
        let missing = json!({ "title": "t", "userId": 999 });
        let refused = api.request(method, path).json(&missing).send().await.unwrap();
        assert_eq!(
            Answer::of(refused).await.expect(400)["detail"],
            "userId must be the id of a user: there is no user 999"
        );
        hold(
            &api,
            invalid_body(request, json!({ "title": "t", "userId": i64::MAX }), &["/userId"]),
        )
        .await;
        hold(&api, invalid_body(request, json!({ "title": " \t\n" }), &["/title"])).await;
        hold(&api, invalid_body(request, json!({ "title": "" }), &["/title"])).await;
        let tricky = json!({ "title": "t", "id": 1, "a/b~c": 1, "version": 7 });
        hold(&api, invalid_body(request, tricky, &["/a~1b~0c", "/id", "/version"])).await;
        for due in [
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "2030-01-01",
            "2030-01-01T00:00:00",
        ] {
            hold(&api, invalid_body(request, json!({ "title": "t", "dueAt": due }), &["/dueAt"]))
                .await;
        }
    }
    hold(&api, invalid_body("POST /tasks", json!({}), &["/title"])).await;
    for status in [json!({ "pending": null }), json!(["pending"]), json!("PENDING"), json!(true)] {
        for request in ["POST /tasks", "PUT /tasks/1", "PATCH /tasks/1"] {
            let body = json!({ "title": "t", "status": status });
            hold(&api, invalid_body(request, body, &["/status"])).await;
        }
    }
    for email in [".ada@example.com", "a..da@example.com", "ada@[127.0.0.1]", "ada@example..com"] {
        let user = json!({ "email": email, "password": "correct horse" });
        hold(&api, invalid_body("POST /users", user, &["/email"])).await;
    }
    let user = json!({ "email": "no", "name": "", "password": "short", "admin": true });
    let pointers = &["/admin", "/email", "/name", "/password"];
    hold(&api, invalid_body("POST /users", user.clone(), pointers)).await;
    hold(&api, invalid_body("PATCH /users/1", user, pointers)).await;
    hold(&api, invalid_body("POST /users", json!({}), &["/email", "/password"])).await;
    let nul = json!({ "email": "a\u{0}@example.com", "name": "\u{0}", "password": "\u{0}1234567" });
    hold(&api, invalid_body("POST /users", nul, &["/email", "/name", "/password"])).await;
    hold(&api, invalid_body("POST /categories", json!({ "name": " ", "x": 1 }), &["/name", "/x"]))
        .await;
    hold(&api, invalid_body("POST /categories", json!({ "name": "\u{0}" }), &["/name"])).await;
    assert_eq!(api.events().await.len(), 1, "nothing refused was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_parameter_is_named_at_once() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let nul_cursor =
        "GET /tasks?sort=title&cursor=WyJ0aXRsZSIseyJrZXkiOnsicyI6Ilx1MDAwMCJ9LCJpZCI6MX1d";
    for case in [
        invalid("GET /tasks?page=2", &["/page"]),
        invalid("GET /tasks/1?expand=all&x", &["/expand", "/x"]),
        invalid("GET /users/1?x", &["/x"]),
        invalid("POST /tasks?x=1", &["/x"]),
        invalid("DELETE /tasks/1?force=1", &["/force"]),
        invalid("POST /dead-letters/replays?x=1", &["/x"]),
        invalid("GET /tasks?limit=1&limit=2", &["/limit"]),
        invalid(
            "GET /tasks?total=1&total=true&limit=&x&status=",
            &["/limit", "/status", "/total", "/x"],
        ),
        invalid(
            "GET /tasks?limit=0&cursor=x&total=yes&status=later&userId=0&categoryId=x&search=&dueBefore=1&dueAfter=-&sort=id",
            &[
                "/categoryId",
                "/cursor",
                "/dueAfter",
                "/dueBefore",
                "/limit",
                "/search",
                "/sort",
                "/status",
                "/total",
                "/userId",
            ],
        ),
        invalid("GET /tasks?limit=101", &["/limit"]),
        invalid("GET /tasks?limit=%2B5", &["/limit"]),
        invalid("GET /tasks?userId=9223372036854775808", &["/userId"]),
        invalid("GET /tasks?search=%00", &["/search"]),
        invalid("GET /tasks?%00=1", &["/\u{0}"]),
        invalid("GET /tasks?cursor=%00", &["/cursor"]),
        invalid(nul_cursor, &["/cursor"]),
        // The cursor of another order.
        invalid("GET /tasks?cursor=WyJ0aXRsZSIseyJrZXkiOnsicyI6ImEifSwiaWQiOjF9XQ", &["/cursor"]),
        invalid("GET /users?cursor=LTE", &["/cursor"]),
        invalid("GET /users?sort=id", &["/sort"]),
        invalid("GET /categories?limit=1000&x=1", &["/limit", "/x"]),
        invalid("GET /tasks/1/activity?cursor=WzFd&limit=-1", &["/cursor", "/limit"]),
        invalid("GET /tasks/0", &["/id"]),
        invalid("GET /tasks/-1", &["/id"]),
        invalid("GET /tasks/+1", &["/id"]),
        invalid("GET /tasks/one", &["/id"]),
        invalid("GET /tasks/%00", &["/id"]),
        invalid("GET /tasks/%FF", &["/id"]),
        invalid("GET /tasks/1%2F2", &["/id"]),
        invalid("GET /tasks/9223372036854775808", &["/id"]),
        invalid("DELETE /users/x", &["/id"]),
        invalid("GET /tasks/x/activity", &["/id"]),
    ] {
        hold(&api, case).await;
    }
    let refused = api.get("/tasks/1?expand=all").await;
    assert_eq!(
        refused.json()["detail"],
        "the parameter expand is not known here; there are no parameters"
    );
    api.task("t", None).await;
    for ignored in ["/tasks/1?", "/?x", "/healthz?x", "/readyz?x", "/metrics?x", "/openapi.json?x"]
    {
        assert_eq!(api.get(ignored).await.status, 200, "{ignored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_route_is_404_and_a_wrong_method_405_with_allow() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let api = serve.api();
    for path in [
        "/task",
        "/tasks/",
        "/tasks/1/",
        "/tasks/1/log",
        "/docs/no.js",
        "/%00",
        "/schemas",
        "/index.html",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let answer = Answer::of(api.request(method, path).send().await.unwrap()).await;
            if method == "GET" || !path.starts_with("/docs/") {
                assert_eq!(
                    problem(path, answer, 404)["code"],
                    "route_not_found",
                    "{method} {path}"
                );
            }
        }
    }
    assert_eq!(problem("a schema", api.get("/schemas/TASK_EATEN").await, 404)["code"], "not_found");
    for (path, allow) in [
        ("/tasks", "GET, HEAD, POST"),
        ("/tasks/1", "GET, HEAD, PUT, PATCH, DELETE"),
        ("/tasks/1/activity", "GET, HEAD"),
        ("/users", "GET, HEAD, POST"),
        ("/users/1", "GET, HEAD, PATCH, DELETE"),
        ("/categories", "GET, HEAD, POST"),
        ("/categories/1", "GET, HEAD, PATCH, DELETE"),
        ("/openapi.json", "GET, HEAD"),
        ("/docs/", "GET, HEAD"),
        ("/schemas/TASK_CREATED", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = Answer::of(api.request(method, path).send().await.unwrap()).await;
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
            assert_eq!(problem(path, answer, 405)["code"], "method_not_allowed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    for path in [
        "/tasks",
        "/tasks/1",
        "/users/1",
        "/openapi.json",
        "/healthz",
        "/tasks/2",
        "/nothing",
        "/tasks/x",
    ] {
        let (get, head) = (api.get(path).await, api.request("HEAD", path).send().await.unwrap());
        let head = Answer::of(head).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_passed_through_or_made() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let with_id = async |path: &str, id: &str| {
        Answer::of(api.request("GET", path).header("X-Request-Id", id).send().await.unwrap()).await
    };
    for path in ["/tasks", "/tasks/7", "/nowhere"] {
        assert_eq!(
            with_id(path, "from-the-proxy_1").await.header("x-request-id"),
            "from-the-proxy_1"
        );
    }
    assert_eq!(with_id("/nowhere", "abc").await.json()["requestId"], "abc");
    for unfit in ["", "with space", "<script>", &"x".repeat(129)] {
        let id = with_id("/tasks", unfit).await.header("x-request-id").to_owned();
        assert!(id != unfit && uuid::Uuid::parse_str(&id).is_ok(), "{unfit:?} became {id}");
    }
    assert_ne!(
        api.get("/tasks").await.header("x-request-id"),
        api.get("/tasks").await.header("x-request-id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_there_twice_is_refused_by_its_name() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    for request in ["POST /tasks", "PUT /tasks/1", "PATCH /tasks/1"] {
        for (body, pointers) in [
            (r#"{"title":"a","title":"b"}"#, &["/title"] as &[&str]),
            (r#"{"title":"a","userId":1,"userId":null,"title":"a"}"#, &["/title", "/userId"]),
            (r#"{"title":"a","\u0074itle":"b"}"#, &["/title"]),
        ] {
            hold(&api, case(request, body, 400, "validation_failed", pointers.to_vec().leak()))
                .await;
        }
    }
    for (path, body) in [
        (
            "POST /users",
            r#"{"email":"a@example.com","password":"correct horse","role":"member","role":"admin"}"#,
        ),
        (
            "POST /sessions",
            r#"{"email":"a@example.com","email":"b@example.com","password":"correct horse"}"#,
        ),
        ("POST /categories", r#"{"name":"a","name":"b"}"#),
        ("PATCH /users/1", r#"{"name":"a","name":"b"}"#),
    ] {
        let (method, path) = path.split_once(' ').unwrap();
        let request = api.request(method, path).header("Content-Type", JSON).body(body);
        let refused = problem(body, Answer::of(request.send().await.unwrap()).await, 400);
        assert_eq!(refused["errors"][0]["message"], "is given more than once", "{body}");
    }
    assert_eq!(api.get("/tasks?total=true").await.expect(200)["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_plain_words_with_what_there_is() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    for (answer, parts) in [
        (api.post("/tasks", json!({})).await, &["title is required"] as &[&str]),
        (api.post("/tasks", json!({ "title": 1 })).await, &["title must be a text, not a number"]),
        (
            api.post("/tasks", json!({ "title": "t", "userId": "1" })).await,
            &["userId must be a whole number"],
        ),
        (
            api.post("/tasks", json!({ "title": "t", "status": "done" })).await,
            &["pending, in-progress, completed"],
        ),
        (
            api.post("/tasks", json!({ "title": "", "userId": 0 })).await,
            &["title must not be empty", "1 more"],
        ),
        (
            api.post("/tasks", json!({ "title": "t", "due_date": 1 })).await,
            &["due_date is not known here", "title, description", "dueAt"],
        ),
        (api.post("/tasks", json!({ "title": "t", "user_id": 1 })).await, &["written userId"]),
        (api.post("/tasks", json!([])).await, &["the body must be a JSON object"]),
        (api.get("/tasks?page=2").await, &["the parameter page", "cursor", "nextCursor"]),
        (api.get("/tasks?sort=desc").await, &["the parameter sort", "-createdAt", "dueAt"]),
        (api.get("/tasks?limit=1000").await, &["the parameter limit", "from 1 to 100"]),
        (api.get("/tasks?order=asc").await, &["sort=-dueAt"]),
        (api.get("/users?offset=2").await, &["nextCursor"]),
        (api.get("/tasks/x").await, &["id in the path must be a whole number"]),
        (api.put("/tasks", json!({})).await, &["GET, HEAD, POST"]),
        (api.get("/task").await, &["/openapi.json"]),
    ] {
        let document = answer.json();
        let detail = document["detail"].as_str().unwrap();
        for part in parts {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        for word in ["invalid type", "expected", "i64", "unknown variant", "length is"] {
            assert!(!answer.text.contains(word), "{word}: {}", answer.text);
        }
    }
}
