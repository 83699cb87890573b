//! What a process says of the requests, deliveries and mails that pass through it.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::console::{PASSWORD, Visitor, user};
use taskd_testing::{Process, Raw, Smtp, Verdict, World};

fn requests(process: &Process) -> Vec<(String, String, u64)> {
    let lines = process.logs().into_iter().filter(|line| line["message"] == "request");
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    lines
        .map(|line| {
            assert!(line["ms"].is_f64() && line["request_id"].is_string(), "{line}");
            let nobody = line["route"] == "unmatched";
            assert_eq!(line["caller"], if nobody { "none" } else { "operator" }, "{line}");
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
    let serve = world.serve_with(&[("ACCESS_LOG", "errors")]).await;
    assert_eq!(asked(&serve).await, errors);
    let serve = world.serve().await;
    let all = [&of(&[("POST", "/tasks", 400), ("GET", "/tasks/1", 200)])[..], &errors].concat();
    let found = asked(&serve).await;
    assert!(found.starts_with(&of(&[("POST", "/tasks", found[0].2)])), "{found:?}");
    assert_eq!(found[1..], all[1..], "all is what there is without the setting");
    let routes: Vec<Value> = serve.logs().iter().map(|line| line["route"].clone()).collect();
    for route in ["/tasks/{id}", "unmatched"] {
        assert!(routes.contains(&json!(route)), "{routes:?}");
    }
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
    let mut strange = Raw {
        body: b"not JSON".to_vec(),
        message_id: None,
        message_type: None,
        properties: Default::default(),
    };
    strange.properties.with_message_type("TASK_CREATED");
    world.amqp().await.publish(&world.queue, strange).await;
    let refused = work.log("refused", |line| line["event_type"] == "unknown").await;
    let fields = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for line in [&retried, &processed, &dead, &refused] {
        assert_eq!(fields(line), fields(&processed), "the same fields whatever the outcome");
        assert!(line["event_id"].is_string() && line["task_id"].is_u64(), "{line}");
        let failed = line["outcome"] != "processed";
        assert_eq!(line["error"] == "", !failed, "{line}");
        assert_eq!(line["reason"] != "", line["outcome"] == "dead", "{line}");
        let again = line["outcome"] == "retried";
        assert_eq!((line["next_attempt"] != 0, line["delay"] != ""), (again, again), "{line}");
    }
    assert_eq!((&refused["task_id"], &refused["subject"]), (&json!(0), &json!("")));
    assert!(processed["subject"].as_str().unwrap().starts_with("task "), "{processed}");
    assert_eq!(retried["event_id"], processed["event_id"]);
    let mail = work.log("the mail", |line| line["message"] == "mail").await;
    assert_eq!(mail["recipient"], "user1@example.com");
    let id = format!("{}.email@taskd", processed["event_id"].as_str().unwrap());
    assert_eq!(mail["message_id"], json!(id));
    assert_eq!(mail["event_id"], processed["event_id"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn libraries_speak_at_debug_and_no_level_shows_what_a_statement_is_about() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    for (level, foreign) in [("info", false), ("debug", true), ("trace", true)] {
        let variables = [("TASKD_LOG", level), ("SMTP_URL", &*smtp.url()), ("ACCESS_LOG", "all")];
        let serve = world.serve_with(&variables).await;
        let work = world.work(level, &variables).await;
        let title = format!("a title that is private, {level}");
        serve.api().task(&title, Some(1)).await;
        work.log("done", |line| line["outcome"] == "processed").await;
        for process in [serve, work] {
            process.signal("TERM");
            process.exit().await;
            let ours = |line: &Value| line["target"].as_str().unwrap().starts_with("taskd");
            let logs = process.logs();
            let theirs: Vec<&Value> = logs.iter().filter(|line| !ours(line)).collect();
            assert!(foreign || theirs.is_empty(), "{level}: {theirs:?}");
            assert!(!process.text().contains("a title that is private"), "{level}");
        }
    }
    // Who names the library gets what it says, parameters too.
    let named = [("TASKD_LOG", "info,tokio_postgres=debug")];
    let serve = world.serve_with(&named).await;
    serve
        .log("a statement", |line| line["target"].as_str().unwrap().starts_with("tokio_postgres"))
        .await;
}

/// The log's line of a page, and who the API's line of the same request names.
async fn callers(process: &Process, path: &str) -> (Value, Value) {
    let page = process.log(path, |line| line["path"] == path && line["route"].is_string()).await;
    let of_page = |line: &Value| {
        line["request_id"] == page["request_id"] && line["path"] == "/sessions/current"
    };
    let asked = process.log("the API's line", of_page).await;
    (page["caller"].clone(), asked["caller"].clone())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_log_names_who_a_page_is_shown_to() {
    let world = World::new().await;
    let token = world.token(&["--user", "1", "--admin"]).await;
    let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let api = serve.api().with_token(&token);
    user(&api, "m@example.com", "member").await;
    let mut nobody = Visitor::new(&api);
    nobody.get("/console/account").await;
    assert_eq!(callers(&serve, "/console/account").await, (json!("none"), json!("none")));

    let mut member = Visitor::new(&api);
    member.sign_in("m@example.com").await;
    member.page("/console/tasks").await;
    let (page, asked) = callers(&serve, "/console/tasks").await;
    assert_eq!((&page, page.as_str().unwrap().starts_with("user ")), (&asked, true));
    // A page that is refused is named too.
    assert_eq!(member.get("/console/events").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(callers(&serve, "/console/events").await, (page.clone(), page));

    let mut admin = Visitor::new(&api);
    let form_token = admin.form_token("/console/sign-in").await;
    admin.send("/console/sign-in", &[("token", &token), ("formToken", &form_token)], &[]).await;
    admin.page("/console/users").await;
    let (page, asked) = callers(&serve, "/console/users").await;
    assert_eq!((&page, page.as_str().unwrap().starts_with("token ")), (&asked, true));
    assert!(!serve.text().contains(PASSWORD) && !serve.text().contains(&token));
}
