//! Gates: breakers, pauses, rates and limits of effects.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use taskd_testing::{Api, Smtp, Verdict, World, eventually};

/// The effect's entry in `taskd effects list`, once it passes.
async fn effect(world: &World, name: &str, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{name}: {what}"), || async {
        let listed = world.run(&["effects", "list", "--json"]).await.succeeded().json();
        let found = listed.as_array().unwrap().iter().find(|one| one["name"] == name);
        found.filter(|one| passes(one)).cloned()
    })
    .await
}

async fn make_tasks(api: &Api, count: usize) {
    for number in 0..count {
        api.task(&format!("t{number}"), Some(1)).await;
    }
}

/// Any event that is in this state.
async fn any(api: &Api, state: &str) -> Value {
    let id = eventually(&format!("an event is {state}"), || async {
        let page = api.get(&format!("/events?state={state}")).await.expect(200);
        page["data"][0]["eventId"].as_str().map(str::to_owned)
    })
    .await;
    api.get(&format!("/events/{id}")).await.expect(200)
}

fn outcomes(event: &Value) -> Vec<&str> {
    event["story"].as_array().unwrap().iter().map(|l| l["outcome"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_outage_of_the_mail_server_costs_no_message_and_no_mail() {
    const TASKS: usize = 60;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Unreachable);
    let serve = world.serve().await;
    let api = serve.api();
    let url = smtp.url();
    let settings = [("SMTP_URL", url.as_str()), ("EFFECT_BREAKER", "3")];
    let first = world.work("first", &settings).await;
    make_tasks(&api, TASKS).await;
    let held = effect(&world, "email", "all is parked", |e| e["parked"] == TASKS).await;
    assert_eq!((&held["state"], &held["breaker"]), (&json!("held"), &json!("open")));
    assert!(held["error"].as_str().is_some_and(|error| !error.is_empty()), "{held}");
    let parked = any(&api, "parked").await;
    let why = parked["whyNotDone"].as_str().unwrap();
    assert!(why.starts_with("held: the email breaker is open since "), "{why}");

    let db = world.db().await;
    let probes = "SELECT probes::bigint FROM effect_gates";
    eventually("probes go in vain", || async { (db.number(probes).await >= 2).then_some(()) })
        .await;
    let attempts = "SELECT count(*) FROM event_steps WHERE kind = 'failed'";
    let before = db.number(attempts).await;
    first.kill_9().await;
    let _second = world.work("second", &settings).await;
    let more = format!("SELECT probes - {} FROM effect_gates", db.number(probes).await);
    let more = more.replace("SELECT probes", "SELECT probes::bigint");
    eventually("others probe", || async { (db.number(&more).await >= 1).then_some(()) }).await;
    assert_eq!(db.number(attempts).await, before, "a probe is no attempt");

    smtp.set(Verdict::Accept);
    smtp.wait_for(TASKS).await;
    let running = effect(&world, "email", "nothing waits", |e| e["parked"] == 0).await;
    assert_eq!((&running["state"], &running["error"]), (&json!("running"), &Value::Null));
    let done = any(&api, "done").await;
    assert!(["parked", "released", "done"].iter().all(|o| outcomes(&done).contains(o)), "{done}");
    eventually("all are done", || async {
        let page = api.get("/events?state=done&total=true").await.expect(200);
        (page["total"] == TASKS).then_some(())
    })
    .await;
    assert_eq!(smtp.mails().len(), TASKS, "each once");
    assert_eq!(world.open_letters().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_operator_stops_one_effect_while_the_others_go_on() {
    const TASKS: usize = 30;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    let dry = world.run(&["effects", "pause", "email", "--dry-run"]).await.succeeded();
    assert!(dry.stdout.contains("running"), "{dry:?}");
    let paused = world.run(&["effects", "pause", "email", "--reason", "the relay moves"]).await;
    assert!(paused.succeeded().stdout.contains("the relay moves"));
    // They start when it is paused already.
    let _workers = [world.work_mailing("w1", &smtp).await, world.work_mailing("w2", &smtp).await];
    make_tasks(&api, TASKS).await;
    let email = effect(&world, "email", "all is parked", |e| e["parked"] == TASKS).await;
    assert_eq!(
        (&email["state"], &email["pauseReason"]),
        (&json!("paused"), &json!("the relay moves"))
    );
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, TASKS as i64);
    assert_eq!(smtp.connections(), 0);
    let parked = any(&api, "parked").await;
    let why = parked["whyNotDone"].as_str().unwrap();
    assert!(why.contains("paused by") && why.contains("the relay moves"), "{why}");
    let task = api.get(&format!("/tasks/{}/activity", parked["taskId"])).await.expect(200);
    assert_eq!(task["data"][0]["mail"]["state"], "parked", "{task}");

    let again = api.post("/effects/email/pause", json!({ "reason": "other" })).await.expect(200);
    assert_eq!(again["pauseReason"], "the relay moves", "who came first stays named");
    let listed = api.get("/effects").await.expect(200);
    assert_eq!(listed["data"][1]["parked"], TASKS);
    let resumed = api.request("POST", "/effects/email/resume").send().await.unwrap();
    assert_eq!(resumed.status(), 200, "an order without a body");
    assert_eq!(resumed.json::<Value>().await.unwrap()["state"], "running");
    assert_eq!(smtp.wait_for(TASKS).await.len(), TASKS);
    effect(&world, "email", "nothing waits", |e| e["parked"] == 0).await;

    // Under load: what is on its way goes out or waits, and nothing is lost.
    make_tasks(&api, TASKS / 2).await;
    api.post("/effects/email/pause", json!({})).await.expect(200);
    make_tasks(&api, TASKS / 2).await;
    api.post("/effects/email/resume", json!({})).await.expect(200);
    assert_eq!(smtp.wait_for(2 * TASKS).await.len(), 2 * TASKS);

    for path in ["/effects/mail/pause", "/effects/x/resume"] {
        api.post(path, json!({})).await.expect(404);
    }
    let long = json!({ "reason": "x".repeat(501) });
    let problem = api.post("/effects/email/pause", long).await.expect(400);
    assert_eq!(problem["errors"][0]["pointer"], "/reason");
    let wrong = world.run(&["effects", "pause", "mail"]).await.exited(1);
    assert!(wrong.stderr.contains("mail") && wrong.stderr.contains("email"), "{wrong:?}");
    let audit = world.run(&["audit", "list", "--json"]).await.succeeded().json();
    let of = |action: &str| {
        let rows = audit.as_array().unwrap().iter();
        rows.filter(|row| row["action"] == action && row["target"] == "effect email").count()
    };
    assert_eq!((of("pause"), of("resume")), (4, 2), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_effect_in_the_database_can_be_paused_too() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    world.run(&["effects", "pause", "activity"]).await.succeeded();
    let _work = world.work_mailing("w", &smtp).await;
    let task = api.task("t", Some(1)).await;
    smtp.wait_for(1).await;
    effect(&world, "activity", "it is parked", |e| e["parked"] == 1).await;
    let path = format!("/tasks/{}/activity", task["id"]);
    assert_eq!(api.get(&path).await.expect(200)["data"], json!([]));
    world.run(&["effects", "resume", "activity"]).await.succeeded();
    eventually("it is told", || async {
        let page = api.get(&path).await.expect(200);
        (page["data"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    any(&api, "done").await;
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_breaker_that_was_closed_counts_anew() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Unreachable);
    let serve = world.serve().await;
    let api = serve.api();
    let url = smtp.url();
    let settings = [("SMTP_URL", url.as_str()), ("EFFECT_BREAKER", "4"), ("CONCURRENCY", "1")];
    let _work = world.work("w", &settings).await;
    make_tasks(&api, 12).await;
    let db = world.db().await;
    let failed = "SELECT count(*) FROM event_steps WHERE kind = 'failed'";
    let first = effect(&world, "email", "it is held", |e| e["parked"] == 12).await;
    let before = db.number(failed).await;
    world.run(&["effects", "resume", "email"]).await.succeeded();
    effect(&world, "email", "it is held again", |e| {
        e["state"] == "held" && e["openedAt"] != first["openedAt"] && e["parked"] == 12
    })
    .await;
    assert!(db.number(failed).await >= before + 4, "{before} and {}", db.number(failed).await);
    smtp.set(Verdict::Accept);
    assert_eq!(smtp.wait_for(12).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn workers_share_a_rate() {
    const TASKS: usize = 12;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    let (url, began) = (smtp.url(), Instant::now());
    let settings = [("SMTP_URL", url.as_str()), ("EFFECT_RATE", "email=4/1s")];
    let _workers = [world.work("w1", &settings).await, world.work("w2", &settings).await];
    make_tasks(&api, TASKS).await;
    smtp.wait_for(TASKS).await;
    // Four at once, four a second later, four another second later.
    assert!(began.elapsed() >= Duration::from_secs(2));
    let mails = smtp.mails();
    assert_eq!(mails.len(), TASKS);
    for five in mails.windows(5) {
        // A second apart, but for the time that a mail takes.
        assert!((five[4].at - five[0].at).num_milliseconds() > 700, "{mails:?}");
    }
    let db = world.db().await;
    let late = "SELECT count(*) FROM event_steps WHERE message LIKE '%rate of 4/1s is used up'";
    assert!(db.number(late).await >= 8, "{}", db.number(late).await);
    assert_eq!(db.count("parked_messages").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn workers_share_a_limit_of_runs_at_a_time() {
    const TASKS: usize = 12;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Hold);
    let serve = world.serve().await;
    let api = serve.api();
    let url = smtp.url();
    let settings = [("SMTP_URL", url.as_str()), ("EFFECT_CONCURRENCY", "email=2")];
    let _workers = [world.work("w1", &settings).await, world.work("w2", &settings).await];
    make_tasks(&api, TASKS).await;
    // Who gets no place for a while gives up its place in the hand of its worker.
    effect(&world, "email", "some wait", |e| e["parked"].as_i64() > Some(0)).await;
    assert_eq!(smtp.hanging(), 2);
    smtp.set(Verdict::Accept);
    smtp.wait_for(TASKS).await;
    effect(&world, "email", "nothing waits", |e| e["parked"] == 0).await;
    let db = world.db().await;
    assert_eq!(db.number("SELECT count(*) FROM effect_places").await, 2);
}

#[tokio::test]
async fn a_limit_that_makes_no_sense_is_refused() {
    let world = World::cut_off();
    for (variable, value, part) in [
        ("EFFECT_BREAKER", "0", "or off"),
        ("EFFECT_BREAKER", "often", "or off"),
        ("EFFECT_RATE", "email", "email=100/1m"),
        ("EFFECT_RATE", "mail=1/1s", "there are"),
        ("EFFECT_RATE", "email=1", "email"),
        ("EFFECT_RATE", "email=1/1s,email=2/1s", "twice"),
        ("EFFECT_CONCURRENCY", "email=0", "from 1"),
        ("EFFECT_CONCURRENCY", "mail=1", "there are"),
    ] {
        let refused = world.run_with(&["work"], &[(variable, value)]).await.exited(2);
        let said = &refused.stderr;
        assert!(said.contains(variable) && said.contains(part), "{variable}={value}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_effect_in_the_database_has_no_limit() {
    let world = World::new().await;
    for (variable, value) in
        [("EFFECT_RATE", "activity=1/1s"), ("EFFECT_CONCURRENCY", "activity=1")]
    {
        let refused = world.run_with(&["work"], &[(variable, value)]).await.exited(2);
        let said = &refused.stderr;
        assert!(
            said.contains(variable) && said.contains("activity runs in the database"),
            "{said}"
        );
    }
}
