//! What a process says of the requests, deliveries and mails that pass through it.

use serde_json::{Value, json};

use taskd_testing::{Process, Smtp, Verdict, World};

fn requests(process: &Process) -> Vec<(String, String, u64)> {
    let lines = process.logs().into_iter().filter(|line| line["message"] == "request");
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    lines
        .map(|line| {
            assert!(line["ms"].is_f64() && line["request_id"].is_string(), "{line}");
            (text(&line, "method"), text(&line, "path"), line["status"].as_u64().unwrap())
        })
        .collect()
}

async fn asked(serve: &Process) -> Vec<(String, String, u64)> {
    serve.api().post("/tasks", json!({ "title": "t" })).await;
    serve.api().get("/tasks/1").await.expect(200);
    serve.api().get("/tasks/99?secret=1").await.expect(400);
    // The last line to come is one that every setting but off has.
    serve.api().get("/nothing").await.expect(404);
    serve.log("the last", |line| line["path"] == "/nothing").await;
    assert!(!serve.text().contains("secret"), "{}", serve.text());
    requests(serve)
}

fn of(lines: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    lines.iter().map(|(method, path, status)| ((*method).into(), (*path).into(), *status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_setting_says_which_requests_have_a_line() {
    let world = World::new().await;
    let errors = of(&[("GET", "/tasks/99", 400), ("GET", "/nothing", 404)]);
    let serve = world.serve().await;
    assert_eq!(asked(&serve).await, errors, "errors is what serve has");
    let serve = world.serve_with(&[("ACCESS_LOG", "all")]).await;
    let all = [&of(&[("POST", "/tasks", 400), ("GET", "/tasks/1", 200)])[..], &errors].concat();
    let found = asked(&serve).await;
    assert!(found.starts_with(&of(&[("POST", "/tasks", found[0].2)])), "{found:?}");
    assert_eq!(found[1..], all[1..]);
    let serve = world.serve_with(&[("ACCESS_LOG", "off")]).await;
    serve.api().get("/nothing").await.expect(404);
    serve.signal("TERM");
    serve.exit().await;
    assert_eq!(requests(&serve), []);
    assert!(!serve.text().contains("starting"), "the libraries' own lines: {}", serve.text());
    let wrong = world.run_with(&["serve"], &[("ACCESS_LOG", "some")]).await.exited(2);
    assert!(wrong.stderr.contains("ACCESS_LOG"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_delivery_and_each_mail_has_its_line_in_one_form() {
    const FIELDS: [&str; 6] = ["event_id", "event_type", "task_id", "attempt", "worker", "outcome"];
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(1));
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    let retried = work.log("retried", |line| line["outcome"] == "retried").await;
    let processed = work.log("processed", |line| line["outcome"] == "processed").await;
    smtp.set(Verdict::RefuseAll);
    serve.api().task("u", Some(1)).await;
    let dead = work.log("dead", |line| line["outcome"] == "dead").await;
    for line in [&retried, &processed, &dead] {
        assert!(FIELDS.iter().all(|field| !line[*field].is_null()), "{line}");
        assert!(line["event_id"].is_string() && line["task_id"].is_u64(), "{line}");
    }
    assert_eq!(retried["event_id"], processed["event_id"]);
    let mail = work.log("the mail", |line| line["message"] == "mail").await;
    assert_eq!(mail["recipient"], "user1@example.com");
    let id = format!("{}.email@taskd", processed["event_id"].as_str().unwrap());
    assert_eq!(mail["message_id"], json!(id));
}
