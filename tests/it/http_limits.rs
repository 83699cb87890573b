//! What a request may take: its time, its body's, and a connection.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use taskd_testing::{Answer, Api, World, eventually};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the API on which anything can be sent.
async fn connect(api: &Api) -> TcpStream {
    TcpStream::connect(api.base.strip_prefix("http://").unwrap()).await.unwrap()
}

/// All that comes until the server hangs up.
async fn to_the_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.expect("the server hangs up").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_slowly_is_given_up_and_its_connection_closed() {
    let world = World::embedded();
    let serve = world.serve_with(&[("REQUEST_TIMEOUT", "300ms")]).await;
    let api = serve.api();
    for head in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut stream = connect(&api).await;
        let request = format!(
            "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = to_the_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{head}: {answer}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{head}: {answer}");
        assert!(answer.contains("application/problem+json"), "{head}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{head}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("x-request-id: "), "{head}: {answer}");
    }
    // One that keeps something coming is no better.
    let mut stream = connect(&api).await;
    let head = "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        // Until the server has hung up.
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut answer = Vec::new();
    // What was sent after the answer may reset the connection.
    let _ = reader.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    dripping.await.unwrap();
    // The first answer from the database may take longer than the deadline here.
    let counted = eventually("the tasks are counted", || async {
        let page = api.get("/tasks?total=true").await;
        (page.status == 200).then(|| page.json())
    })
    .await;
    assert_eq!(counted["total"], 0);
}

/// One who has been refused could otherwise keep the connection for as long as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_is_not_waited_for() {
    let world = World::embedded();
    let serve = world.serve().await;
    let apart = World::cut_off();
    let work = apart.work_in_vain().await;
    for (api, request, status) in [
        (serve.api(), "POST /tasks", 415),
        (serve.api(), "POST /nowhere", 404),
        (serve.api(), "DELETE /tasks", 405),
        (serve.api(), "GET /tasks", 200),
        (work.api(), "POST /healthz", 405),
    ] {
        for head in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let mut stream = connect(&api).await;
            let request = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = to_the_end(stream).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_answer_that_takes_too_long_is_given_up_and_a_write_is_not() {
    let world = World::new().await;
    let serve = world.serve_with(&[("REQUEST_TIMEOUT", "300ms")]).await;
    let api = serve.api();
    let db = world.db().await;
    db.run("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await;
    for answer in
        [api.post("/tasks", json!({ "title": "t" })).await, api.get("/tasks?status=pending").await]
    {
        assert_eq!(answer.header("retry-after"), "", "a repeated write would be a second one");
        assert_eq!(answer.code(503), "timeout");
    }
    db.run("COMMIT").await;
    eventually("the write is done", || async {
        let page = api.get("/tasks").await;
        (page.status == 200 && page.json()["data"][0]["title"] == "t").then_some(())
    })
    .await;
    assert_eq!(world.db().await.count("events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_is_refused_before_it_is_read() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let body = json!({ "title": "t" });
    for packed in ["gzip", "br", "GZIP, identity", "deflate,", "zstd", "made-up"] {
        for (method, path) in [
            ("POST", "/tasks"),
            ("PUT", "/tasks/1"),
            ("PATCH", "/users/1"),
            ("POST", "/categories"),
        ] {
            let request = api.request(method, path).json(&body).header("Content-Encoding", packed);
            let answer = Answer::of(request.send().await.unwrap()).await;
            assert_eq!(answer.header("accept-encoding"), "identity", "{packed}");
            assert_eq!(answer.code(415), "unsupported_content_encoding", "{packed}");
        }
    }
    for plain in ["identity", "", "Identity"] {
        let request = api.request("POST", "/tasks").json(&body).header("Content-Encoding", plain);
        assert_eq!(request.send().await.unwrap().status(), 201, "{plain:?}");
    }
    // Without a body there is nothing to unpack.
    let request = api.request("GET", "/tasks/1").header("Content-Encoding", "gzip");
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_waits_for_another_to_end() {
    const ALLOWED: usize = 2;
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let world = World::cut_off();
    let serve = world.serve_with(&[("MAX_CONNECTIONS", &ALLOWED.to_string())]).await;
    let api = serve.api();
    let mut answer = [0; 1];
    let mut open = Vec::new();
    for _ in 0..ALLOWED {
        let mut stream = connect(&api).await;
        stream.write_all(REQUEST).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        open.push(stream);
    }
    let mut waiting = connect(&api).await;
    waiting.write_all(REQUEST).await.unwrap();
    let unanswered =
        tokio::time::timeout(Duration::from_millis(500), waiting.read_exact(&mut answer)).await;
    assert!(unanswered.is_err(), "a connection too many was served");
    open.clear();
    let answered = waiting.read_exact(&mut answer);
    tokio::time::timeout(PATIENCE, answered).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_request_gets_a_bare_status_and_its_connection_is_closed() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let api = serve.api();
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-A: 1\r\n".repeat(100));
    let post = "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length:";
    for (request, status) in [
        ("GET /tasks HTTP/1.1\r\n\r\n", 400),
        ("G(T /tasks HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /tasks HTTP/9\r\nHost: localhost\r\n\r\n", 400),
        ("GET /tasks HTTP/1.1\r\nHost: localhost\r\nA header\r\n\r\n", 400),
        (&format!("{post} -1\r\n\r\n"), 400),
        (&format!("{post} 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (&format!("{post} 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (&long, 431),
        (&many, 431),
    ] {
        let shown: String = request.chars().take(80).collect();
        let mut stream = connect(&api).await;
        // It may be refused, and the connection reset, before all of it is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server hangs up");
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{shown:?}: {answer}");
    }
}
