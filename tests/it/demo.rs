//! `taskd up --demo`: it touches nothing real, its story goes on, and whatever it breaks, nothing is
//! lost and nothing is repeated.

use std::time::Duration;

use serde_json::{Value, json};
use taskd_testing::{Api, Process, World, eventually, eventually_within};

const DEMO: &str = ".taskd-demo";
/// How long a story may take to come to rest: what waits in a delay queue comes back first.
const REST: Duration = Duration::from_secs(60);

async fn start(world: &World, more: &[(&str, &str)]) -> Process {
    let mut demo = world.start(&["up", "--demo"], more);
    demo.wait_for_address("up").await;
    demo
}

/// A demo whose people have their tasks and rest.
async fn at_rest(world: &World, more: &[(&str, &str)]) -> (Process, Api) {
    let demo = start(world, more).await;
    let api = demo.api();
    eventually("the people have come in", || async { (api.tasks().await >= 42).then_some(()) })
        .await;
    order(&api, "/demo/trickle/pause", Value::Null).await;
    settled(&api).await;
    (demo, api)
}

async fn order(api: &Api, path: &str, body: Value) -> Value {
    let request = api.request("POST", path);
    let request = if body.is_null() { request } else { request.json(&body) };
    taskd_testing::Answer::of(request.send().await.unwrap()).await.expect(200)
}

async fn view(api: &Api) -> Value {
    api.get("/demo").await.expect(200)
}

/// Waits until nothing waits. Returns the figures, which must agree.
async fn settled(api: &Api) -> Value {
    let proof = eventually_within(REST, "everything is settled", || async {
        let proof = view(api).await["proof"].clone();
        (proof["settled"] == true).then_some(proof)
    })
    .await;
    assert_eq!(proof["written"], proof["events"], "{proof}");
    let number = |name: &str| proof[name].as_i64().unwrap();
    assert_eq!(number("effectsDue"), number("effectsDone") + number("effectsDead"), "{proof}");
    assert_eq!(number("repeated"), number("repeatedInWindow"), "{proof}");
    proof
}

/// The first event in this state, once there is one that says so.
async fn why_not_done(api: &Api, state: &str, says: &str) -> Value {
    eventually(&format!("an event is {state}: {says}"), || async {
        let listed = api.get(&format!("/events?state={state}&limit=1")).await.expect(200);
        let id = listed["data"][0]["eventId"].as_str()?.to_owned();
        let event = api.get(&format!("/events/{id}")).await.expect(200);
        event["whyNotDone"].as_str()?.contains(says).then_some(event)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_wherever_it_would_touch_something_real() {
    let world = World::alone();
    for (variable, value) in [
        ("DATABASE_URL", "postgres://127.0.0.1:1/d"),
        ("RABBITMQ_URL", "amqp://127.0.0.1:1"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("SMTP_URL", "smtp://127.0.0.1:1"),
        ("MAIL_DIR", "mail"),
        ("TASKD_HOST", "0.0.0.0"),
        ("TASKD_ENV", "production"),
        ("RETRY_DELAYS", "2d"),
    ] {
        let refused = world.run_with(&["up", "--demo"], &[(variable, value)]).await.exited(2);
        let said = &refused.stderr;
        assert!(said.contains("--demo") && said.contains(variable), "{variable}: {said}");
    }
    for role in ["serve", "work", "doctor"] {
        let refused = world.run(&[role, "--demo"]).await.exited(2);
        assert!(refused.stderr.contains("--demo"), "{role}: {}", refused.stderr);
    }
    assert!(!world.directory.join(DEMO).exists() && !world.directory.join(".taskd").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_has_the_routes_of_a_demo() {
    let world = World::embedded();
    let up = world.serve().await;
    let api = up.api();
    assert_eq!(api.get("/demo").await.code(404), "route_not_found");
    for path in ["/demo/worker/stop", "/demo/broker/hold", "/demo/mend"] {
        let answer = api.request("POST", path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
    assert_eq!(
        api.post("/demo/mail", json!({ "failing": 100 })).await.code(404),
        "route_not_found"
    );
    let console = api.get("/console/tasks").await;
    assert!(console.status == 200 && !console.text.contains("Break it"), "{}", console.text);
    assert_eq!(api.get("/console/demo").await.status, 404);
    let document = api.get("/openapi.json").await.expect(200);
    assert!(!document["paths"].as_object().unwrap().keys().any(|path| path.starts_with("/demo")));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_data_is_its_own_and_a_second_start_goes_on_with_it() {
    let world = World::demo();
    let (demo, api) = at_rest(&world, &[]).await;
    let people = api.get("/users?total=true").await.expect(200)["total"].clone();
    let categories = api.get("/categories?total=true").await.expect(200)["total"].clone();
    let before = settled(&api).await;
    assert!(!world.directory.join(".taskd/postgres").exists());
    // Killed in the middle: what it repeats then is within the window, as each figure must say.
    for number in 0..20 {
        api.task(&format!("{number}"), Some(2)).await;
    }
    demo.kill_9().await;

    let (demo, api) = at_rest(&world, &[]).await;
    assert_eq!(api.get("/users?total=true").await.expect(200)["total"], people);
    assert_eq!(api.get("/categories?total=true").await.expect(200)["total"], categories);
    let after = settled(&api).await;
    assert!(
        after["events"].as_i64().unwrap() >= before["events"].as_i64().unwrap() + 20,
        "{after}"
    );
    assert!(after["mailsDistinct"].as_i64() >= before["mailsDistinct"].as_i64(), "{after}");
    demo.signal("INT");
    assert!(demo.exit().await.success());

    // Neither takes the data of the other.
    let refused = world.run(&["up", "--data-dir", DEMO]).await.exited(2);
    assert!(
        refused.stderr.contains("DATA_DIR") && refused.stderr.contains("--demo"),
        "{refused:?}"
    );
    std::fs::create_dir(world.directory.join(".taskd/postgres")).unwrap();
    let mine = world.directory.join(".taskd");
    let refused =
        world.run(&["up", "--demo", "--data-dir", mine.to_str().unwrap()]).await.exited(2);
    assert!(refused.stderr.contains("not a demo's"), "{refused:?}");
    assert!(!mine.join("demo").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_people_go_on_changing_tasks_and_each_change_has_its_effects() {
    let world = World::demo();
    let demo = start(&world, &[]).await;
    let api = demo.api();
    let seeded = eventually("the people have come in", || async {
        let events = view(&api).await["proof"]["events"].as_i64().unwrap();
        (events >= 42).then_some(events)
    })
    .await;
    eventually("the story goes on", || async {
        (view(&api).await["proof"]["events"].as_i64().unwrap() >= seeded + 4).then_some(())
    })
    .await;
    order(&api, "/demo/trickle/pause", Value::Null).await;
    let proof = settled(&api).await;
    assert_eq!((&proof["repeated"], &proof["effectsDead"]), (&json!(0), &json!(0)), "{proof}");
    assert_eq!(proof["mailsSent"], proof["mailsDistinct"], "{proof}");
    assert_eq!(proof["mailsSent"].as_i64().unwrap() * 2, proof["effectsDone"], "{proof}");
    let statuses = ["pending", "in-progress", "completed"].map(|status| {
        let api = api.clone();
        async move { api.get(&format!("/tasks?status={status}&total=true")).await.expect(200) }
    });
    for page in futures_util::future::join_all(statuses).await {
        assert!(page["total"].as_i64().unwrap() > 3, "{}", page["total"]);
    }
    let events = api.get("/events?limit=100").await.expect(200);
    let actors: std::collections::BTreeSet<String> =
        events["data"].as_array().unwrap().iter().map(|event| event["actor"].to_string()).collect();
    assert!(actors.len() > 3, "{actors:?}");
    let view = order(&api, "/demo/trickle/resume", Value::Null).await;
    assert_eq!(view["trickle"]["running"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_fails_is_tried_again_and_mail_that_is_refused_is_replayed() {
    let world = World::demo();
    let more = [("RETRY_DELAYS", "2s,300ms,300ms,300ms,1s,1s,1s,1s"), ("EFFECT_BREAKER", "3")];
    let (_demo, api) = at_rest(&world, &more).await;
    let view = order(&api, "/demo/mail", json!({ "failing": 100 })).await;
    assert_eq!(view["faults"]["mail"], json!({ "failing": 100, "forGood": false }));
    for number in 0..8 {
        api.task(&format!("{number}"), Some(2)).await;
    }
    why_not_done(&api, "retrying", "451").await;
    eventually("the breaker opens", || async {
        let effects = api.get("/effects").await.expect(200);
        effects["data"].as_array().unwrap().iter().any(|e| e["state"] == "held").then_some(())
    })
    .await;
    order(&api, "/demo/mend", Value::Null).await;
    let proof = settled(&api).await;
    assert_eq!((&proof["repeated"], &proof["effectsDead"]), (&json!(0), &json!(0)), "{proof}");

    order(&api, "/demo/mail", json!({ "failing": 100, "forGood": true })).await;
    for number in 0..3 {
        api.task(&format!("{number}"), Some(2)).await;
    }
    why_not_done(&api, "dead", "550").await;
    let proof = settled(&api).await;
    assert_eq!((&proof["effectsDead"], &proof["deadLetters"]), (&json!(3), &json!(3)), "{proof}");
    order(&api, "/demo/mend", Value::Null).await;
    api.post("/dead-letters/replays", json!({ "all": true })).await.expect(201);
    eventually("the letters are replayed", || async {
        (self::view(&api).await["proof"]["deadLetters"] == 0).then_some(())
    })
    .await;
    let proof = settled(&api).await;
    assert_eq!((&proof["repeated"], &proof["effectsDead"]), (&json!(0), &json!(0)), "{proof}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_held_writes_go_on_and_afterwards_everything_arrives() {
    let world = World::demo();
    let (_demo, api) = at_rest(&world, &[]).await;
    let before = settled(&api).await["events"].as_i64().unwrap();
    assert_eq!(order(&api, "/demo/broker/hold", Value::Null).await["faults"]["broker"], "held");
    for number in 0..5 {
        api.task(&format!("{number}"), Some(2)).await;
    }
    why_not_done(&api, "unpublished", "waiting for the broker").await;
    assert_eq!(api.get("/readyz").await.expect(200)["status"], "degraded");
    assert_eq!(api.post("/demo/garbage", json!({ "count": 1 })).await.code(503), "unavailable");
    let waiting = view(&api).await["proof"].clone();
    assert_eq!(waiting["waiting"], 10, "{waiting}");
    order(&api, "/demo/broker/release", Value::Null).await;
    let proof = settled(&api).await;
    assert_eq!((proof["events"].as_i64(), &proof["repeated"]), (Some(before + 5), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_events_wait_and_say_so_and_the_next_one_does_them() {
    let world = World::demo();
    let (_demo, api) = at_rest(&world, &[]).await;
    order(&api, "/demo/worker/stop", Value::Null).await;
    let workers = async || {
        let listed = api.get("/processes").await.expect(200);
        listed["processes"].as_array().unwrap().iter().filter(|p| p["role"] == "work").count()
    };
    eventually("the workers have left", || async { (workers().await == 0).then_some(()) }).await;
    api.task("t", Some(2)).await;
    why_not_done(&api, "queued", "no worker is consuming").await;
    assert_eq!(view(&api).await["proof"]["waiting"], 2);
    let view = order(&api, "/demo/worker/start", Value::Null).await;
    assert_eq!(view["faults"]["worker"], "running");
    assert_eq!(settled(&api).await["repeated"], 0);
    eventually("both workers are back", || async { (workers().await == 2).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_have_no_second_effect_and_garbage_has_none() {
    let world = World::demo();
    let (_demo, api) = at_rest(&world, &[]).await;
    let before = settled(&api).await;
    let view = order(&api, "/demo/duplicates", json!({ "count": 20 })).await;
    assert_eq!(view["proof"]["duplicatesPublished"], 20);
    eventually("the copies are skipped", || async {
        (api.metric("taskd_deliveries_total", "duplicate").await == 20.0).then_some(())
    })
    .await;
    order(&api, "/demo/garbage", json!({ "count": 10 })).await;
    eventually("the garbage is dead", || async {
        (self::view(&api).await["proof"]["deadLetters"] == 10).then_some(())
    })
    .await;
    let letters = api.get("/dead-letters?limit=100").await.expect(200);
    for letter in letters["data"].as_array().unwrap() {
        assert_eq!(letter["reason"], "not ours", "{letter}");
    }
    let after = settled(&api).await;
    for name in ["written", "effectsDone", "mailsSent", "mailsDistinct", "repeated"] {
        assert_eq!(after[name], before[name], "{name}: {before} {after}");
    }
    assert_eq!((&after["repeated"], &after["garbagePublished"]), (&json!(0), &json!(10)));
}

/// It takes as long as the lease of a claim, 25 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_loses_its_claim_and_the_repetition_is_the_one_that_is_named() {
    let world = World::demo();
    let (demo, api) = at_rest(&world, &[]).await;
    let view = order(&api, "/demo/worker/freeze", Value::Null).await;
    assert_eq!(view["faults"]["worker"], "frozen");
    api.task("t", Some(2)).await;
    let frozen = demo.log("one is frozen", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("the demo freezes a worker"))
    });
    let message = frozen.await["message_id"].clone();
    // The other goes on meanwhile.
    why_not_done(&api, "parked", "another worker is running it").await;
    let proof = eventually_within(Duration::from_secs(90), "the claim is taken over", || async {
        let proof = self::view(&api).await["proof"].clone();
        (proof["repeated"] == 1).then_some(proof)
    })
    .await;
    assert_eq!(proof["repeatedInWindow"], 1, "{proof}");
    eventually("the frozen worker goes on", || async {
        (self::view(&api).await["faults"]["worker"] == "running").then_some(())
    })
    .await;
    let proof = settled(&api).await;
    assert_eq!(proof["mailsSent"].as_i64().unwrap(), proof["mailsDistinct"].as_i64().unwrap() + 1);
    let of_it = |line: &&Value| line["message"] == "mail" && line["message_id"] == message;
    assert_eq!(demo.logs().iter().filter(of_it).count(), 2);
    // Both work again.
    api.task("u", Some(3)).await;
    settled(&api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_orders_are_refused_and_the_others_are_written_down() {
    let world = World::demo();
    let (_demo, api) = at_rest(&world, &[]).await;
    for (path, body, pointer) in [
        ("/demo/mail", json!({ "failing": 101 }), "/failing"),
        ("/demo/mail", json!({ "failing": -1 }), "/failing"),
        ("/demo/mail", json!({}), "/failing"),
        ("/demo/mail", json!({ "failing": "all" }), "/failing"),
        ("/demo/mail", json!({ "failing": 1, "forGood": 1 }), "/forGood"),
        ("/demo/mail", json!({ "failing": 1, "forgood": true }), "/forgood"),
        ("/demo/duplicates", json!({ "count": 0 }), "/count"),
        ("/demo/garbage", json!({ "count": 101 }), "/count"),
        ("/demo/garbage", json!({}), "/count"),
        ("/demo/worker/stop", json!({ "force": true }), "/force"),
    ] {
        let problem = api.post(path, body.clone()).await.expect(400);
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!((errors.len(), &errors[0]["pointer"]), (1, &json!(pointer)), "{path} {body}");
    }
    assert_eq!(api.get("/demo?x=1").await.status, 400);
    assert_eq!(api.get("/demo/mend").await.status, 405);
    order(&api, "/demo/mail", json!({ "failing": 30, "forGood": true })).await;
    order(&api, "/demo/mend", Value::Null).await;
    let audit = api.get("/audit?action=demo&limit=2").await.expect(200);
    let targets: Vec<&Value> =
        audit["data"].as_array().unwrap().iter().map(|e| &e["target"]).collect();
    assert_eq!(targets, ["everything", "mail"]);
    assert_eq!(audit["data"][1]["details"], json!({ "failing": 30, "forGood": true }));
    let stakes = view(&api).await["promises"].clone();
    assert_eq!(stakes.as_array().unwrap().len(), 7);
    assert!(stakes[0]["promise"]["number"].is_number() && stakes[0]["model"]["states"].is_number());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_has_a_page_for_it_whose_buttons_are_orders() {
    let world = World::demo();
    let (_demo, api) = at_rest(&world, &[]).await;
    let client = taskd_testing::http().redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let page = client.get(format!("{}/console/demo", api.base)).send().await.unwrap();
    let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let cookie = cookie.to_owned();
    let text = page.text().await.unwrap();
    for part in
        ["No change is lost", "Each effect of an event happens once", "28,202", "Break it</a>"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, rest) = text.split_once("name=\"formToken\" value=\"").unwrap();
    let token = rest.split('"').next().unwrap();
    let press = async |order: &str, fields: &str| {
        let request = client.post(format!("{}/console/demo/{order}", api.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let body = format!("formToken={token}&{fields}");
        let answer = request.header("cookie", cookie.as_str()).body(body).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(press("mail/fail", "failing=40").await, 303);
    assert_eq!(press("broker/hold", "").await, 303);
    let faults = view(&api).await["faults"].clone();
    let mail = json!({ "failing": 40, "forGood": false });
    assert_eq!(faults, json!({ "worker": "running", "broker": "held", "mail": mail }));
    assert_eq!(press("mail/fail", "failing=400").await, 400);
    assert_eq!(press("broker/break", "").await, 404);
    assert_eq!(press("everything/mend", "").await, 303);
    assert_eq!(view(&api).await["faults"]["broker"], "up");
    settled(&api).await;
}
