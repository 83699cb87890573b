//! The story of an event, its state, and why it is not done.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use taskd_testing::{Api, Smtp, Verdict, World, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The only event, once it passes.
async fn event(api: &Api, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
    let listed = api.get("/events").await.expect(200);
    let path = format!("/events/{}", listed["data"][0]["eventId"].as_str().unwrap());
    eventually(what, || async {
        let event = api.get(&path).await.expect(200);
        passes(&event).then_some(event)
    })
    .await
}

fn in_state(state: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["state"] == state
}

/// What happened, as `outcome effect`.
fn outcomes(event: &Value) -> Vec<String> {
    let line = |line: &Value| {
        let effect = line["effect"].as_str().unwrap_or("-");
        format!("{} {effect}", line["outcome"].as_str().unwrap())
    };
    event["story"].as_array().unwrap().iter().map(line).collect()
}

/// The ids of the events in a state.
async fn listed(api: &Api, state: &str) -> Vec<Value> {
    let page = api.get(&format!("/events?state={state}&total=true")).await.expect(200);
    let rows = page["data"].as_array().unwrap().clone();
    assert_eq!(page["total"], rows.len(), "{state}");
    assert!(rows.iter().all(|row| row["state"] == state), "{rows:?}");
    rows.iter().map(|row| row["eventId"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_event_tells_its_story_while_it_waits_and_after_it_has_died() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let serve = world.serve().await;
    let api = serve.api();
    let traced = api
        .request("POST", "/tasks")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .header("x-request-id", "req-1")
        .json(&json!({ "title": "t", "userId": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(traced.status(), 201);
    let waiting = event(&api, "it is queued", in_state("queued")).await;
    assert_eq!((&waiting["requestId"], &waiting["traceId"]), (&json!("req-1"), &json!(TRACE)));
    let why = waiting["whyNotDone"].as_str().unwrap();
    assert!(why.contains("waiting in the queue since "), "{why}");
    assert!(why.starts_with("no worker is consuming (none is running); "), "{why}");
    assert_eq!(listed(&api, "queued").await, [waiting["eventId"].clone()]);

    let _work =
        world.work_with("w", &[], &[("SMTP_URL", &smtp.url()), ("RETRY_DELAYS", "1s,2s")]).await;
    let retrying = event(&api, "it is retried", in_state("retrying")).await;
    let why = retrying["whyNotDone"].as_str().unwrap();
    assert!(
        why.starts_with("retry 1 of 2") && why.contains("email failed (") && why.contains("451"),
        "{why}"
    );
    assert_eq!(outcomes(&retrying), ["written -", "published -", "done activity", "failed email"]);
    let failed = &retrying["story"][3];
    assert_eq!((&failed["attempt"], &failed["worker"]), (&json!(1), &json!("w")));
    let next: DateTime<Utc> = failed["nextTryAt"].as_str().unwrap().parse().unwrap();
    let at: DateTime<Utc> = failed["at"].as_str().unwrap().parse().unwrap();
    assert!((500..2_000).contains(&(next - at).num_milliseconds()), "{failed}");
    assert_eq!(listed(&api, "retrying").await.len(), 1);

    let dead = event(&api, "it dies", in_state("dead")).await;
    let letter = dead["deadLetterId"].as_str().unwrap();
    let why = dead["whyNotDone"].as_str().unwrap();
    assert!(why.starts_with(&format!("dead: letter {letter}")) && why.contains("451"), "{why}");
    let failures = outcomes(&dead).iter().filter(|line| *line == "failed email").count();
    assert_eq!(failures, 3);
    assert_eq!(outcomes(&dead).last().unwrap(), "dead -");
    assert_eq!(world.dead_letters(1).await[0]["id"], letter);
    for (state, count) in [("dead", 1), ("retrying", 0), ("queued", 0), ("done", 0)] {
        assert_eq!(listed(&api, state).await.len(), count, "{state}");
    }

    let id = dead["eventId"].as_str().unwrap();
    let shown = world.run(&["events", "show", id]).await.succeeded().stdout;
    for part in [id, TRACE, "req-1", "state    dead (dead: letter ", "attempt 3", "by w", "451"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let shown = world.run(&["events", "show", id, "--json"]).await.succeeded().json();
    assert_eq!((&shown["state"], &shown["story"]), (&dead["state"], &dead["story"]));
    let rows = world.run(&["events", "list", "--state", "dead", "--json"]).await.succeeded().json();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["eventId"]), (1, &json!(id)));
    let text = world.run(&["events", "list", "--since", "1h"]).await.succeeded().stdout;
    assert!(text.contains(id) && text.contains("dead"), "{text}");

    smtp.set(Verdict::Accept);
    world.run(&["dlq", "replay", letter]).await.succeeded();
    let done = event(&api, "it is done", in_state("done")).await;
    assert_eq!((&done["whyNotDone"], &done["deadLetterId"]), (&Value::Null, &Value::Null));
    let sent = done["story"].as_array().unwrap().last().unwrap();
    assert_eq!((&sent["outcome"], &sent["worker"]), (&json!("done"), &json!("w")));
    assert_eq!(sent["message"], "user1@example.com");
    assert_eq!(listed(&api, "done").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_activity_says_what_became_of_the_mail() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseRecipient("gone@example.com".into()));
    let serve = world.serve().await;
    let api = serve.api();
    let _work = world.work_mailing("w", &smtp).await;
    let gone = api.user("gone@example.com").await;
    let tasks = [
        api.task("mailed", Some(1)).await,
        api.task("refused", Some(gone)).await,
        api.task("of nobody", None).await,
    ];
    let entry = async |task: &Value, settled: fn(&Value) -> bool| {
        let path = format!("/tasks/{}/activity", task["id"]);
        eventually("the mail is settled", || async {
            let page = api.get(&path).await.expect(200);
            let entry = page["data"].get(0)?.clone();
            assert_eq!(page["data"].as_array().unwrap().len(), 1);
            settled(&entry["mail"]).then_some(entry["mail"].clone())
        })
        .await
    };
    let sent = entry(&tasks[0], |mail| mail["state"] == "sent").await;
    assert_eq!((&sent["to"], &sent["error"]), (&json!("user1@example.com"), &Value::Null));
    sent["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let dead = entry(&tasks[1], |mail| mail["state"] == "dead").await;
    assert_eq!(dead["to"], "gone@example.com");
    assert!(dead["error"].as_str().unwrap().contains("550"), "{dead}");
    entry(&tasks[2], Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_not_done_is_found_among_many_and_forgotten_when_it_is() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let db = world.db().await;
    let task = api.task("t", None).await;
    // Written long ago by others: done, but for two.
    db.run(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
         SELECT gen_random_uuid(), 7, n, 'TASK_CREATED', '{}', now() - interval '1 h', now() - interval '1 h'
         FROM generate_series(1, 3000) n;
         INSERT INTO processed_messages (event_id, effect, state, effects)
         SELECT id, 'activity', 'done', 1 FROM events WHERE task_id = 7 AND task_version > 2",
    )
    .await;
    let mark = "SELECT seq - (SELECT max(seq) FROM events) FROM unfinished_events_mark";
    eventually("the list is up to date", || async { (db.number(mark).await == 0).then_some(()) })
        .await;
    let id = |version: i64| {
        format!(
            "SELECT count(*) FROM unfinished_events u JOIN events e ON e.id = u.event_id
                                     WHERE task_id = 7 AND task_version = {version}"
        )
    };
    assert_eq!((db.number(&id(1)).await, db.number(&id(3)).await), (1, 0));
    assert_eq!(db.count("unfinished_events").await, 3, "two old ones and that of the task");
    assert_eq!(listed(&api, "queued").await.len(), 3);
    let page = api.get("/events?state=queued&taskId=7&limit=1").await.expect(200);
    let next = page["nextCursor"].as_str().unwrap();
    let rest =
        api.get(&format!("/events?state=queued&taskId=7&limit=1&cursor={next}")).await.expect(200);
    assert!(rest["nextCursor"].is_null() && rest["data"][0] != page["data"][0]);
    let done = api.get("/events?state=done&total=true").await.expect(200);
    assert_eq!(done["total"], 2998);
    for (since, count) in [("2000-01-01T00:00:00Z", 1), ("2100-01-01T00:00:00Z", 0)] {
        let path = format!("/events?total=true&taskId={}&since={since}", task["id"]);
        assert_eq!(api.get(&path).await.expect(200)["total"], count, "{since}");
    }

    let _work = world.work("w", &[]).await;
    eventually("the task's event is done", || async {
        let done = api.get(&format!("/events?state=done&taskId={}", task["id"])).await.expect(200);
        done["data"].get(0).map(drop)
    })
    .await;
    eventually("it is off the list", || async {
        (db.count("unfinished_events").await == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_the_broker_has_not_got_waits_for_it() {
    let world = World::new().await;
    let serve = world.serve_with(&[("RABBITMQ_URL", "amqp://127.0.0.1:1")]).await;
    let api = serve.api();
    api.task("t", None).await;
    let event = event(&api, "it waits", in_state("unpublished")).await;
    let why = event["whyNotDone"].as_str().unwrap();
    assert!(why.starts_with("waiting for the broker since "), "{why}");
    assert_eq!(listed(&api, "unpublished").await.len(), 1);
    for wrong in ["state=open", "state=", "since=yesterday"] {
        let problem = api.get(&format!("/events?{wrong}")).await.expect(400);
        let name = wrong.split('=').next().unwrap();
        assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"));
    }
    let refused = world.run(&["events", "list", "--state", "open"]).await.exited(2);
    assert!(
        refused.stderr.contains("--state") && refused.stderr.contains("retrying"),
        "{refused:?}"
    );
    let missing = world.run(&["events", "show", "01a20c26-baf3-7396-8c9e-8c32b8533154"]).await;
    assert!(missing.exited(1).stderr.contains("there is no event"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_story_has_two_failures_a_pause_a_death_and_a_replay() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let serve = world.serve().await;
    let api = serve.api();
    let settings = [("SMTP_URL", &*smtp.url()), ("RETRY_DELAYS", "500ms,5s")];
    let _work = world.work("w", &settings).await;
    api.task("t", Some(1)).await;
    let failures =
        |event: &Value| outcomes(event).iter().filter(|line| *line == "failed email").count();
    let why = |event: &Value| event["whyNotDone"].as_str().unwrap_or("done").to_owned();

    let twice = event(&api, "it has failed twice", |event| failures(event) == 2).await;
    assert!(why(&twice).starts_with("retry 2 of 2 at "), "{}", why(&twice));
    api.post("/effects/email/pause", json!({ "reason": "look at it" })).await.expect(200);
    let parked = event(&api, "it is parked", in_state("parked")).await;
    assert!(why(&parked).starts_with("email is paused by operator since "), "{}", why(&parked));
    api.post("/effects/email/resume", json!({})).await.expect(200);
    let dead = event(&api, "it dies", in_state("dead")).await;
    let letter = dead["deadLetterId"].as_str().unwrap();
    assert!(why(&dead).starts_with(&format!("dead: letter {letter}")), "{}", why(&dead));
    smtp.set(Verdict::Accept);
    world.run(&["dlq", "replay", letter]).await.succeeded();
    let done = event(&api, "it is done", in_state("done")).await;
    // When it was published is marked a little later.
    let mut told = outcomes(&done);
    told.retain(|line| line != "published -");
    assert_eq!(
        told,
        [
            "written -",
            "done activity",
            "failed email",
            "failed email",
            "parked email",
            "released email",
            "failed email",
            "dead -",
            "replayed -",
            "done email",
        ]
    );
    let id = done["eventId"].as_str().unwrap();
    let shown = world.run(&["events", "show", id]).await.succeeded().stdout;
    println!("{shown}\n{}\n{}\n{}", why(&twice), why(&parked), why(&dead));
    assert!(shown.contains("look at it") && shown.contains("replay 1"), "{shown}");
}
