//! How roles end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use taskd_testing::{Api, Process, Proxy, Smtp, Verdict, Weather, World, eventually, rabbitmq_url};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn sigterm_and_sigint_end_a_role_with_exit_code_0() {
    let world = World::new().await;
    for signal in ["TERM", "INT"] {
        let (serve, work) = tokio::join!(world.serve(), world.work("w", &[]));
        for process in [&serve, &work] {
            process.signal(signal);
            assert_eq!(process.exit().await.code(), Some(0), "{}", process.text());
            assert!(process.logs().iter().any(|line| line["message"] == "stopped"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_request_in_flight_is_answered_and_its_event_published_before_serve_ends() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    // The write waits for this lock, so that it is in flight when the signal comes.
    let db = world.db().await;
    db.run("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await;
    let writing = tokio::spawn({
        let api = api.clone();
        async move { api.post("/tasks", json!({ "title": "in flight" })).await }
    });
    let other = world.db().await;
    eventually("the write waits", || async {
        (other
            .count(
                "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
            )
            .await
            == 1)
            .then_some(())
    })
    .await;
    serve.signal("TERM");
    serve
        .log("it drains", |line| {
            line["message"].as_str().is_some_and(|m| m.starts_with("draining"))
        })
        .await;
    db.run("COMMIT").await;
    assert_eq!(writing.await.unwrap().status, 201);
    assert_eq!(serve.exit().await.code(), Some(0));
    assert_eq!(
        world.amqp().await.take_all(&world.queue, 2).await[1].json()["payload"]["title"],
        "in flight"
    );
    assert_eq!(other.count("events WHERE published_at IS NULL").await, 0);
}

/// Sends SIGTERM and waits until it has been understood.
async fn drains(process: &Process) {
    process.signal("TERM");
    let draining =
        |line: &Value| line["message"].as_str().is_some_and(|m| m.starts_with("draining"));
    process.log("it drains", draining).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mail_in_flight_is_finished_before_work_ends() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hold);
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for_hanging().await;
    drains(&work).await;
    // What comes now is not for it.
    serve.api().task("later", Some(1)).await;
    smtp.set(Verdict::Accept);
    assert_eq!(work.exit().await.code(), Some(0));
    let done = work.logs().into_iter().filter(|line| line["outcome"] == "processed").count();
    assert_eq!((done, smtp.mails().len()), (1, 1));
    let db = world.db().await;
    assert_eq!(db.count("processed_messages WHERE state = 'done'").await, 2);
    // The other waits for the next worker.
    let _heir = world.work_mailing("heir", &smtp).await;
    smtp.wait_for(2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_not_finished_in_time_goes_back_to_the_queue() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hang);
    let serve = world.serve().await;
    let work = world.work("w", &[("SMTP_URL", &smtp.url()), ("DRAIN_TIMEOUT", "200ms")]).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for_hanging().await;
    work.signal("TERM");
    assert_eq!(work.exit().await.code(), Some(0));
    let amqp = world.amqp().await;
    eventually("the message is back", || async {
        (amqp.count(&world.queue).await? == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_second_signal_stops_at_once() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hang);
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for_hanging().await;
    drains(&work).await;
    work.signal("INT");
    assert_eq!(work.exit().await.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_signal_that_comes_twice_at_once_is_one() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hold);
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for_hanging().await;
    // As `timeout` does: to the process, and to its group.
    drains(&work).await;
    work.signal("TERM");
    smtp.set(Verdict::Accept);
    assert_eq!(work.exit().await.code(), Some(0), "{}", work.text());
    smtp.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_process_whose_log_nobody_reads_any_more_works_on_and_stops() {
    let world = World::new().await;
    let mut command = tokio::process::Command::from(world.command(&["serve"], &[("LOG", "debug")]));
    let mut serve = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut log = BufReader::new(serve.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("it serves");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(address) = line["address"].as_str() {
            break address.to_owned();
        }
    };
    drop(log);
    let api = Api::at(&address);
    api.task("t", None).await;
    let db = world.db().await;
    eventually("the publisher works on", || async {
        (db.count("events WHERE published_at IS NOT NULL").await == 1).then_some(())
    })
    .await;
    let pid = serve.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(30), serve.wait()).await;
    assert!(ended.expect("it stops").unwrap().success());
}

/// A proxy that sends a request on a connection in the moment the server closes it loses it. So a server
/// that stops leaves idle connections open, for longer than deploy/nginx.conf keeps them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_idle_connection_is_left_to_its_client_for_two_seconds() {
    let world = World::new().await;
    let serve = world.serve().await;
    let address = serve.api().base.strip_prefix("http://").unwrap().to_owned();
    let mut idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let signalled = Instant::now();
    serve.signal("TERM");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(signalled.elapsed() >= Duration::from_millis(1900), "{:?}", signalled.elapsed());
    assert_eq!(serve.exit().await.code(), Some(0), "{}", serve.text());
}

/// How long a process may take to be gone after its time for draining is up, on a busy machine. Less than that
/// time, so that a stage with a time of its own is noticed.
const GONE: Duration = Duration::from_secs(9);
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_time_for_draining_is_one_for_slow_requests_slow_mails_and_a_broker_that_hangs() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hold);
    let (broker, url) = Proxy::before(&rabbitmq_url(), 5672).await;
    let settings =
        [("RABBITMQ_URL", url.as_str()), ("DRAIN_TIMEOUT", "10s"), ("SMTP_URL", &smtp.url())];
    let (serve, work) = tokio::join!(world.serve_with(&settings), world.work("w", &settings));
    let api = serve.api();
    api.task("a mail that hangs", Some(1)).await;
    smtp.wait_for_hanging().await;
    // From now on the broker says nothing, a request waits for a lock, and an event for the broker.
    broker.half_open();
    broker.set(Weather::Refusing);
    let waiting = api.task("an event that waits", None).await["id"].clone();
    let db = world.db().await;
    db.run("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await;
    let slow = tokio::spawn(async move { api.post("/tasks", json!({ "title": "slow" })).await });
    let other = world.db().await;
    let waits = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("the write waits", || async { (other.count(waits).await == 1).then_some(()) }).await;
    for process in [&serve, &work] {
        process.signal("TERM");
    }
    let signalled = Instant::now();
    let (served, worked) = tokio::join!(serve.exit(), work.exit());
    let took = signalled.elapsed();
    assert_eq!((served.code(), worked.code()), (Some(0), Some(0)), "{}", serve.text());
    assert!(took < DRAIN + GONE, "{took:?}\n{}\n{}", serve.text(), work.text());
    slow.abort();
    db.run("ROLLBACK").await;
    // The event is still there, to be published by the next one.
    let waits = format!("events WHERE task_id = {waiting} AND published_at IS NULL");
    assert_eq!(other.count(&waits).await, 1);
}
