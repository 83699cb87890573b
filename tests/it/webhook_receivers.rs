//! The receivers of docs/webhooks.md, as they stand there: each takes what is genuine, and nothing else.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use standardwebhooks::Webhook as Signer;

use crate::webhooks::{Set, deliveries, set};
use taskd_testing::{Received, eventually, http};

#[path = "../../docs/receivers/receiver.rs"]
mod receiver;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/receivers");

#[test]
fn the_document_has_the_receivers_as_they_are_tried() {
    let document = include_str!("../../docs/webhooks.md");
    for (language, suffix) in [("python", "py"), ("js", "js"), ("rust", "rs")] {
        let source = std::fs::read_to_string(format!("{DIRECTORY}/receiver.{suffix}")).unwrap();
        assert!(source.lines().count() < 30, "receiver.{suffix} is no small receiver any more");
        let block = format!("```{language}\n{source}```\n");
        let copy = "copy the file there";
        assert!(
            document.contains(&block),
            "docs/webhooks.md has another receiver.{suffix}: {copy}"
        );
    }
}

/// A receiver that listens at this port. It is killed when this is dropped, if it is a process.
struct Running {
    port: u16,
    child: Option<Child>,
    /// What it has printed; `None` if that can't be read.
    lines: Option<Arc<Mutex<Vec<String>>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a receiver by this program, which has to be there: nothing is skipped.
fn start_by(program: &str, package: &str, file: &str, secret: &str) -> Running {
    let mut command = Command::new(program);
    command.arg(file).current_dir(DIRECTORY).env("WEBHOOK_SECRET", secret).env("PORT", "0");
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!(
            "{program} can't be started ({error}), and {file} of docs/receivers is tried with it: \
             install it, on Debian by apt-get install {package}"
        )
    });
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = output.next().expect("it says where it listens").unwrap();
    let port = first.strip_prefix("port ").expect("a port").parse().unwrap();
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        output.map_while(Result::ok).for_each(|line| sink.lock().unwrap().push(line));
    });
    Running { port, child: Some(child), lines: Some(lines) }
}

/// The one in Rust is a part of these tests; it ends with them.
fn start_in_rust(secret: &str) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, secret) = (listener.local_addr().unwrap().port(), secret.to_owned());
    std::thread::spawn(move || receiver::serve(&listener, &secret));
    Running { port, child: None, lines: None }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_receiver_in_python_takes_what_is_genuine() {
    try_out(|secret| start_by("python3", "python3", "receiver.py", secret)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_receiver_in_javascript_takes_what_is_genuine() {
    try_out(|secret| start_by("node", "nodejs", "receiver.js", secret)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_receiver_in_rust_takes_what_is_genuine() {
    try_out(start_in_rust).await;
}

/// The newest delivery to a webhook, once there are so many and none is open.
async fn newest(set: &Set, hook: &Value, count: usize) -> Value {
    set.settled(hook, count).await.swap_remove(0)
}

async fn try_out(start: impl FnOnce(&str) -> Running) {
    let set = set().await;
    // What is sent, as it is sent.
    let hook = set.hook("/captured", json!({ "retryDelays": [] })).await;
    let secret = hook["secret"].as_str().unwrap();
    set.api.task("Captured", Some(1)).await;
    let captured = set.receiver.wait_for("/captured", 1).await.remove(0);
    newest(&set, &hook, 1).await;

    // A delivery of taskd itself is accepted, and repeated, done once.
    let running = start(secret);
    let url = format!("http://127.0.0.1:{}/hook", running.port);
    let path = format!("/webhooks/{}", hook["id"]);
    set.api.patch(&path, json!({ "url": url })).await.expect(200);
    set.api.task("Delivered", Some(1)).await;
    let delivered = newest(&set, &hook, 2).await;
    assert_eq!((&delivered["state"], &delivered["lastStatus"]), (&json!("done"), &json!(200)));
    let resend = format!("{path}/deliveries/{}/resend", delivered["id"]);
    set.api.post(&resend, json!(null)).await.expect(200);
    let repeated = eventually("it is sent again", || async {
        let found = deliveries(&set.api, &hook).await.swap_remove(0);
        (found["attempts"] == 2).then_some(found)
    })
    .await;
    assert_eq!(repeated["state"], "done", "{repeated}");

    // So is a new secret beside the old one, which the receiver has.
    set.api.post(&format!("{path}/rotate-secret"), json!(null)).await.expect(200);
    set.api.task("Signed twice", Some(1)).await;
    assert_eq!(newest(&set, &hook, 3).await["lastStatus"], 200);

    // One that was signed with another secret is refused.
    let other = json!({ "url": url, "retryDelays": [] });
    let other = set.api.post("/webhooks", other).await.expect(201);
    set.api.patch(&path, json!({ "enabled": false })).await.expect(200);
    set.api.task("Signed by somebody else", Some(1)).await;
    let refused = newest(&set, &other, 1).await;
    assert_eq!((&refused["state"], &refused["lastStatus"]), (&json!("failed"), &json!(401)));

    // What is not as it was sent is refused, and what comes too late.
    let now = chrono::Utc::now().timestamp();
    let signer = Signer::new(secret).unwrap();
    let sent_at = |at: i64| {
        let mut again = captured.clone();
        let signature = signer.sign(captured.id(), at, &captured.body).unwrap();
        again.headers.insert("webhook-timestamp".into(), at.to_string());
        again.headers.insert("webhook-signature".into(), signature);
        again
    };
    let with = |name: &str, value: &str| {
        let mut changed = captured.clone();
        changed.headers.insert(name.into(), value.into());
        changed
    };
    let changed_body = Received { body: captured.body.to_ascii_uppercase(), ..captured.clone() };
    let unsigned = captured.headers["webhook-signature"].replace("v1,", "v2,");
    for (what, request, accepted) in [
        ("as it was sent", captured.clone(), true),
        ("four minutes ago", sent_at(now - 240), true),
        ("another body", changed_body, false),
        ("ten minutes ago", sent_at(now - 600), false),
        ("in ten minutes", sent_at(now + 600), false),
        ("another time", with("webhook-timestamp", &(now + 1).to_string()), false),
        ("no time", with("webhook-timestamp", "soon"), false),
        ("another id", with("webhook-id", "x"), false),
        ("another scheme", with("webhook-signature", &unsigned), false),
        ("no signature", with("webhook-signature", ""), false),
    ] {
        let status = post(&url, &request).await;
        assert_eq!(status, if accepted { 200 } else { 401 }, "{what}");
    }
    if let Some(lines) = &running.lines {
        let printed = eventually("it has done each once", || async {
            let printed = lines.lock().unwrap().clone();
            (printed.len() >= 3).then_some(printed)
        });
        assert_eq!(printed.await, ["TASK_CREATED"; 3]);
    }
}

/// Sends a request like one that was received. Returns the status of the answer.
async fn post(url: &str, like: &Received) -> u16 {
    let mut request = http().build().unwrap().post(url).body(like.body.clone());
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        request = request.header(name, &like.headers[name]);
    }
    request.send().await.unwrap().status().as_u16()
}
