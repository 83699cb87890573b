//! Who is there: `taskd ps`, `GET /processes`, and what an event says that nobody takes.

use serde_json::{Value, json};

use taskd_testing::{World, eventually};

async fn listed(world: &World) -> Value {
    world.run(&["ps", "--json"]).await.succeeded().json()
}

/// What is listed, once it passes.
async fn once(world: &World, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let listed = listed(world).await;
        passes(&listed).then_some(listed)
    })
    .await
}

fn count(listed: &Value) -> usize {
    listed["processes"].as_array().unwrap().len()
}

fn codes(listed: &Value) -> Vec<&str> {
    let findings = listed["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn processes_are_seen_while_they_run_and_go_when_they_are_stopped() {
    let world = World::new().await;
    assert_eq!(codes(&listed(&world).await), ["no_worker"]);
    let serve = world.serve().await;
    let work = world.work("w1", &[]).await;
    let both = once(&world, "both are there", |listed| count(listed) == 2).await;
    assert_eq!(both["findings"], json!([]));
    let (one, other) = (&both["processes"][0], &both["processes"][1]);
    assert_eq!((&one["role"], &other["role"]), (&json!("serve"), &json!("work")));
    assert_eq!((&other["name"], &other["pid"]), (&json!("w1"), &json!(work.pid())));
    assert_eq!(other["lastProgressAt"], Value::Null, "it has settled nothing yet");
    for process in [one, other] {
        assert_eq!(process["state"], "alive");
        assert_eq!(process["version"], env!("CARGO_PKG_VERSION"));
        for field in ["id", "host", "startedAt", "seenAt"] {
            assert!(process[field].is_string(), "{field}: {process}");
        }
    }
    let api = serve.api();
    api.task("t", None).await;
    let moved = once(&world, "both have got on", |listed| {
        let processes = listed["processes"].as_array().unwrap();
        processes.iter().all(|process| process["lastProgressAt"].is_string())
    })
    .await;
    assert_eq!(moved["processes"][1]["inHand"], 0);
    let answered = api.get("/processes").await.expect(200);
    assert_eq!(count(&answered), 2, "{answered}");
    let table = world.run(&["ps"]).await.succeeded().stdout;
    assert!(table.contains("w1") && table.contains("alive"), "{table}");

    work.signal("TERM");
    assert!(work.exit().await.success());
    let alone = listed(&world).await;
    assert_eq!((count(&alone), codes(&alone)), (1, vec!["no_worker"]));
    let table = world.run(&["ps"]).await.succeeded().stdout;
    assert!(table.contains("no worker is consuming (none is running)"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_worker_that_was_killed_is_shown_as_silent_and_forgotten_after_a_day() {
    let world = World::new().await;
    let (serve, work) = (world.serve().await, world.work("w1", &[]).await);
    once(&world, "both are there", |listed| count(listed) == 2).await;
    work.kill_9().await;
    let db = world.db().await;
    db.run("UPDATE processes SET seen_at = now() - interval '20 s' WHERE name = 'w1'").await;
    let silent = listed(&world).await;
    assert_eq!(
        (codes(&silent), &silent["processes"][1]["state"]),
        (vec!["no_worker"], &json!("silent"))
    );
    let message = silent["findings"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("no worker is consuming (none has been seen since "), "{message}");

    let api = serve.api();
    api.task("t", None).await;
    let events = api.get("/events").await.expect(200);
    let path = format!("/events/{}", events["data"][0]["eventId"].as_str().unwrap());
    let why = eventually("it is queued", || async {
        let event = api.get(&path).await.expect(200);
        (event["state"] == "queued").then(|| event["whyNotDone"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(why.starts_with(message), "{why}");

    db.run("UPDATE processes SET seen_at = now() - interval '25 h' WHERE name = 'w1'").await;
    once(&world, "it is forgotten", |listed| count(listed) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_worker_that_settles_nothing_and_workers_of_two_versions_are_told() {
    let world = World::new().await;
    let (one, _other) = (world.work("w1", &[]).await, world.work("w2", &[]).await);
    once(&world, "both are there", |listed| count(listed) == 2).await;
    let db = world.db().await;
    // A process doesn't change the version that it began with.
    db.run("UPDATE processes SET version = '0.0.9' WHERE name = 'w1'").await;
    let found = listed(&world).await;
    assert_eq!(codes(&found), ["two_versions"]);
    let message = found["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("0.0.9 (w1)") && message.contains("(w2)"), "{message}");
    let table = world.run(&["ps"]).await.succeeded().stdout;
    assert!(table.contains(message), "{table}");

    // It stands still, so it doesn't correct what is written about it here.
    one.signal("STOP");
    db.run(
        "UPDATE processes SET seen_at = now(), in_hand = 3, busy_since = now() - interval '2 min',
             started_at = now() - interval '1 h' WHERE name = 'w1'",
    )
    .await;
    let found = listed(&world).await;
    assert_eq!(codes(&found), ["worker_without_progress", "two_versions"]);
    let message = found["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("w1") && message.contains("it has 3 deliveries in hand"), "{message}");
    one.signal("CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_is_one_process_that_serves_and_works() {
    let world = World::embedded();
    let up = world.serve().await;
    let found = once(&world, "it is there", |listed| count(listed) == 1).await;
    let process = &found["processes"][0];
    assert_eq!((&process["role"], &process["pid"]), (&json!("up"), &json!(up.pid())));
    assert_eq!(found["findings"], json!([]));
    assert_eq!(count(&up.api().get("/processes").await.expect(200)), 1);
}
