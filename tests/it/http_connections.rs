//! Connections: clients that take nothing, that offer other protocols, or that go on after the last
//! request.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use taskd_testing::{Api, World, eventually_within};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(90);

fn address(api: &Api) -> std::net::SocketAddr {
    api.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Sends a text and gives all that comes until the server hangs up.
async fn told(api: &Api, text: &str) -> String {
    let mut stream = TcpStream::connect(address(api)).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.expect("the server hangs up").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str) -> String {
    let body = json!({ "title": "t" }).to_string();
    format!(
        "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {headers}\r\n{body}",
        body.len()
    )
}

/// Whether an answer has this header.
fn has(answer: &str, header: &str) -> bool {
    answer.to_ascii_lowercase().contains(&format!("\r\n{header}\r\n"))
}

/// Whether the kernel knows the server's side of this connection.
#[cfg(target_os = "linux")]
fn is_there(server: std::net::SocketAddr, client: std::net::SocketAddr) -> bool {
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (columns.next().unwrap(), columns.next().unwrap());
        local.ends_with(&port(server)) && remote.ends_with(&port(client))
    })
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_is_hung_up_on() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let file = "/docs/swagger-ui-bundle.js";
    assert_eq!(serve.api().get(file).await.status, 200);
    // One that the kernel takes from the server whole, and more than it takes.
    let mut clients = Vec::new();
    for (requests, path) in [(1, "/docs/swagger-ui.css"), (1, file), (16, file)] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        let stream = socket.connect(address(&serve.api())).await.unwrap();
        stream.writable().await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(requests);
        stream.try_write(request.as_bytes()).unwrap();
        assert!(is_there(address(&serve.api()), stream.local_addr().unwrap()));
        clients.push(stream);
    }
    for client in &clients {
        let client = client.local_addr().unwrap();
        eventually_within(PATIENCE, "the server hangs up", || async {
            (!is_there(address(&serve.api()), client)).then_some(())
        })
        .await;
    }
    assert_eq!(serve.api().get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_to_speak_http_2_is_ignored() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let first = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{offer}\r\n");
    let next = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // As Java's client makes it: with the first request of a connection, which goes on.
    let mut stream = TcpStream::connect(address(&serve.api())).await.unwrap();
    for request in [&first, next, next] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut part = [0; 4_096];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await;
            let read = read.expect("it is answered").unwrap();
            assert_ne!(read, 0, "the connection goes on: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..read]);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("\r\nconnection:"), "{answer}");
    }
    // One that comes later is not taken up either, and the end of the connection is said.
    stream.write_all(first.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.expect("the server hangs up").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && has(&answer, "connection: close"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_after_the_last_is_not_carried_out() {
    let world = World::embedded();
    let serve = world.serve().await;
    for (number, last) in
        ["Connection: close\r\n", "Connection: Close, x\r\n"].into_iter().enumerate()
    {
        let answer = told(&serve.api(), &format!("{}{}{}", post(""), post(last), post(""))).await;
        assert_eq!(answer.matches("HTTP/1.1 201 ").count(), 2, "{answer}");
        let second = answer.rfind("HTTP/1.1 201 ").unwrap();
        assert!(has(&answer[second..], "connection: close"), "{answer}");
        assert!(!has(&answer[..second], "connection: close"), "{answer}");
        assert_eq!(serve.api().tasks().await as usize, 2 * (number + 1));
    }
    // One of HTTP/1.0 is the last unless it says otherwise.
    let old = post("").replace("HTTP/1.1", "HTTP/1.0");
    let answer = told(&serve.api(), &format!("{old}{}", post(""))).await;
    assert_eq!(answer.matches(" 201 ").count(), 1, "{answer}");
    assert_eq!(serve.api().tasks().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_refused_before_its_body_is_waited_for() {
    let world = World::embedded();
    let serve = world.serve().await;
    let apart = World::cut_off();
    let work = apart.work_in_vain().await;
    let offer = "Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    let get = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{offer}\r\n");
    for (api, request) in [
        (serve.api(), post(offer)),
        (serve.api(), post("Upgrade: websocket\r\n")),
        (serve.api(), get.clone()),
        (work.api(), get),
    ] {
        let answer = told(&api, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("\"upgrade_unsupported\""), "{answer}");
        let id = answer.split("\"requestId\":\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(!id.is_empty() && has(&answer, &format!("x-request-id: {id}")), "{answer}");
        assert!(has(&answer, "connection: close"), "{answer}");
    }
    assert_eq!(serve.api().tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_after_the_signal_to_stop_is_answered() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    serve.signal("TERM");
    // Soon the server itself accepts no more. Until the listener is closed, others do.
    let (mut answered, mut reset) = (0, false);
    while let Ok(mut stream) = TcpStream::connect(address(&serve.api())).await {
        // Who comes between the last look at the backlog and the end of the listener is reset; nobody can be after.
        assert!(!reset, "a connection was reset before the listener was closed\n{}", serve.text());
        let mut answer = String::new();
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            stream.read_to_string(&mut answer).await
        };
        let ended = tokio::time::timeout(PATIENCE, exchange).await.expect("the server hangs up");
        reset = ended.is_err() || answer.is_empty();
        if !reset {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            answered += usize::from(has(&answer, "connection: close"));
        }
    }
    assert!(answered > 0, "nobody was answered after the signal");
    assert!(!serve.text().contains("panicked"), "{}", serve.text());
    assert_eq!(serve.exit().await.code(), Some(0), "{}", serve.text());
}
