//! Dead letters in numbers: causes, replays by plan, edits, and who did it.

use serde_json::{Value, json};

use crate::access::House;
use taskd_testing::{Api, Raw, Smtp, Verdict, World, eventually};

async fn groups(world: &World) -> Vec<Value> {
    let groups = world.run(&["dlq", "groups", "--json"]).await.succeeded().json();
    groups.as_array().unwrap().clone()
}

/// How many letters the group with this in its error has.
fn count(groups: &[Value], error: &str) -> i64 {
    let of = |group: &&Value| group["error"].as_str().unwrap().contains(error);
    groups.iter().find(of).map_or(0, |group| group["count"].as_i64().unwrap())
}

fn fingerprint(groups: &[Value], error: &str) -> String {
    let of = |group: &&Value| group["error"].as_str().unwrap().contains(error);
    groups.iter().find(of).unwrap()["fingerprint"].as_str().unwrap().to_owned()
}

/// The actions in the audit log, newest first, with whether each was a dry run.
async fn audited(world: &World) -> Vec<(String, bool)> {
    let entries = world.run(&["audit", "list", "--json"]).await.succeeded().json();
    let entry = |entry: &Value| {
        assert!(entry["actor"].as_str().unwrap().contains("(command line)"), "{entry}");
        (entry["action"].as_str().unwrap().to_owned(), entry["dryRun"].as_bool().unwrap())
    };
    entries.as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn letters_of_three_causes_are_replayed_one_cause_at_a_time_and_each_effect_happens_once() {
    const EACH: usize = 30;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    let url = smtp.url();
    let settings = [("SMTP_URL", url.as_str()), ("EFFECT_BREAKER", "off")];
    let work = world.work("w", &settings).await;
    let tasks = async |verdict: Verdict| {
        smtp.set(verdict);
        for number in 0..EACH {
            api.task(&format!("t{number}"), Some(1)).await;
        }
    };
    tasks(Verdict::RefuseAll).await;
    world.dead_letters(EACH).await;
    tasks(Verdict::DeferFirst(usize::MAX)).await;
    world.dead_letters(2 * EACH).await;
    let amqp = world.amqp().await;
    for _ in 0..EACH {
        // Equal in every byte, and without an id.
        let junk = Raw { body: b"not ours".to_vec(), ..Raw::default() };
        amqp.publish(&world.queue, junk).await;
    }
    world.dead_letters(3 * EACH).await;
    let found = groups(&world).await;
    assert_eq!(found.len(), 3, "{found:?}");
    for group in &found {
        assert_eq!(group["count"], EACH, "{group}");
        assert_eq!(group["growing"], true);
        assert!(group["firstAt"].as_str() <= group["lastAt"].as_str());
        assert_eq!(group["sample"]["fingerprint"], group["fingerprint"]);
    }
    let (refused, deferred) = (fingerprint(&found, "not here"), fingerprint(&found, "try later"));

    let dry = world.run(&["dlq", "replay", "--group", &refused, "--dry-run"]).await.succeeded();
    assert!(dry.stdout.contains(&format!("{EACH} would be sent")), "{dry:?}");
    assert!(dry.stdout.contains("nothing was sent"), "{dry:?}");
    assert_eq!(groups(&world).await.len(), 3);

    // The mail server still defers: the canary dies again, of the other cause.
    let canary = ["dlq", "replay", "--group", &refused, "--canary", "5"];
    let stopped = world.run(&canary).await.exited(1).stdout;
    assert!(stopped.contains("stopped (") && stopped.contains("canary"), "{stopped}");
    let now = groups(&world).await;
    assert_eq!(
        (count(&now, "not here"), count(&now, "try later")),
        (EACH as i64 - 5, EACH as i64 + 5)
    );

    // Mended; the worker is killed in the middle, and another carries on.
    smtp.set(Verdict::Accept);
    let rest = ["dlq", "replay", "--group", &deferred, "--rate", "20", "--no-wait", "--json"];
    let plan = world.run(&rest).await.succeeded().json();
    assert_eq!(plan["total"], EACH + 5);
    smtp.wait_for(5).await;
    work.kill_9().await;
    let _work = world.work_mailing("another", &smtp).await;
    let id = plan["id"].as_i64().unwrap();
    let ended = eventually("the replay ends", || async {
        let replays = world.run(&["dlq", "replays", "--json"]).await.succeeded().json();
        let replay = replays.as_array().unwrap().iter().find(|r| r["id"] == id).unwrap().clone();
        (replay["state"] == "done").then_some(replay)
    })
    .await;
    assert_eq!((&ended["failedAgain"], &ended["waiting"]), (&json!(0), &json!(0)));
    assert_eq!(
        ended["done"].as_i64().unwrap() + ended["alreadyDone"].as_i64().unwrap(),
        EACH as i64 + 5
    );
    assert_eq!(smtp.distinct_ids().len(), EACH + 5);
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, 2 * EACH as i64);
    let now = groups(&world).await;
    assert_eq!((count(&now, "not here"), count(&now, "signature")), (EACH as i64 - 5, EACH as i64));

    let actions = audited(&world).await;
    assert_eq!(actions.iter().filter(|(action, _)| action == "replay").count(), 3);
    assert_eq!(actions.iter().filter(|(_, dry_run)| *dry_run).count(), 1);
    let discard = ["dlq", "discard", "--type", "TASK_CREATED", "--yes", "--reason", "given up"];
    assert!(
        world.run(&discard).await.succeeded().stdout.contains(&format!("{} discarded", EACH - 5))
    );
    assert_eq!(audited(&world).await[0], ("discard".to_owned(), false));
    let text = world.run(&["audit", "list"]).await.succeeded().stdout;
    assert!(text.contains("given up"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_corrected_payload_goes_out_as_a_new_event_for_what_had_failed() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseRecipient("gone@example.com".into()));
    let serve = world.serve().await;
    let api = serve.api();
    let _work = world.work_mailing("w", &smtp).await;
    let gone = api.user("gone@example.com").await;
    api.task("for whom", Some(gone)).await;
    let letter = world.dead_letters(1).await.remove(0);
    let id = letter["id"].as_str().unwrap();
    let mut payload = letter["body"]["payload"].clone();
    payload["userId"] = json!(1);
    for (wrong, part) in
        [(json!({ "title": "alone" }), "breaks the schema"), (json!({ "id": 99 }), "/id must stay")]
    {
        let mut broken = payload.clone();
        match &wrong["id"] {
            Value::Null => broken = wrong,
            id => broken["id"] = id.clone(),
        }
        let refused = world.run(&["dlq", "edit", id, "--payload", &broken.to_string()]).await;
        let refused = refused.exited(2);
        assert!(
            refused.stderr.contains("--payload") && refused.stderr.contains(part),
            "{refused:?}"
        );
    }
    let payload = payload.to_string();
    let edited = ["dlq", "edit", id, "--payload", &payload, "--json"];
    let checked = world.run(&[&edited[..], &["--dry-run"]].concat()).await.succeeded().json();
    assert_eq!((&checked["eventId"], &checked["doneBefore"]), (&Value::Null, &json!(["activity"])));
    let edited = world.run(&edited).await.succeeded().json();
    assert_eq!(edited["causationId"], letter["eventId"]);
    assert_eq!(smtp.wait_for(1).await[0].subject, "New task: for whom");
    let new = edited["eventId"].as_str().unwrap();
    eventually("it is done", || async {
        let event = api.get(&format!("/events/{new}")).await.expect(200);
        (event["state"] == "done" && event["causationId"] == letter["eventId"]).then_some(())
    })
    .await;
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, 1, "what was done is not done again");
    assert_eq!(db.count("events WHERE is_repetition").await, 1);
    let shown = world.run(&["dlq", "show", id, "--json"]).await.succeeded().json();
    assert_eq!(shown[0]["state"], "replaced");
    world.run(&["dlq", "edit", id, "--payload", &payload]).await.exited(1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_replay_waits_for_a_worker_and_can_be_stopped_and_resumed() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, work, letter) = world.with_a_dead_letter(&smtp).await;
    work.kill_9().await;
    smtp.set(Verdict::Accept);
    let alone = world.run(&["dlq", "replay", "--all"]).await.exited(1);
    assert!(alone.stderr.contains("no worker is there"), "{alone:?}");
    let replays = world.run(&["dlq", "replays", "--json"]).await.succeeded().json();
    let id = replays[0]["id"].to_string();
    let stopping = world.run(&["dlq", "stop", &id, "--json"]).await.succeeded().json();
    assert_eq!(stopping["state"], "stopping");
    let _work = world.work_mailing("w", &smtp).await;
    // What was not sent is open again.
    assert_eq!(world.dead_letters(1).await[0]["id"], letter["id"]);
    let resumed = world.run(&["dlq", "resume", &id, "--json"]).await.succeeded().json();
    assert_eq!((&resumed["state"], &resumed["done"]), (&json!("done"), &json!(1)));
    assert_eq!(smtp.mails().len(), 1);
    world.run(&["dlq", "resume", "99"]).await.exited(1);
}

/// The letter of a process that fails each mail.
async fn letter_of(api: &Api) -> Value {
    api.task("t", Some(1)).await;
    eventually("a letter", || async {
        let page = api.get("/dead-letters?limit=1").await.expect(200);
        page["data"].get(0).cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_do_what_the_commands_do() {
    let world = World::alone();
    let up = world.up(&["--simulate-failure", "email=1"], &[]).await;
    let api = up.api();
    let letter = letter_of(&api).await;
    let id = letter["id"].as_str().unwrap();
    assert_eq!(api.get(&format!("/dead-letters/{id}")).await.expect(200)["id"], id);
    assert_eq!(api.get("/dead-letters/none").await.code(404), "not_found");
    let groups = api.get("/dead-letters/groups").await.expect(200);
    let group = groups["data"][0]["fingerprint"].as_str().unwrap();
    for (query, found) in [
        (format!("group={group}"), 1),
        ("group=0".to_owned(), 0),
        ("effect=email&type=TASK_CREATED&taskId=1".to_owned(), 1),
        ("effect=email&type=TASK_CREATED".to_owned(), 1),
        ("effect=activity".to_owned(), 0),
        ("type=TASK_DELETED".to_owned(), 0),
        ("state=discarded".to_owned(), 0),
        ("before=2000-01-01T00:00:00Z".to_owned(), 0),
    ] {
        let page = api.get(&format!("/dead-letters?{query}")).await.expect(200);
        assert_eq!(page["data"].as_array().unwrap().len(), found, "{query}");
        assert_eq!(page["total"], found, "{query}");
    }
    api.get("/dead-letters?state=gone").await.expect(400);
    let dry =
        api.post("/dead-letters/replays", json!({ "all": true, "dryRun": true })).await.expect(200);
    assert_eq!((&dry["replay"], &dry["forecast"][0]["letters"]), (&Value::Null, &json!(1)));
    let made = api.post("/dead-letters/replays", json!({ "ids": [id] })).await;
    let path = made.header("location").to_owned();
    made.expect(201);
    let ended = eventually("it fails again", || async {
        let replay = api.get(&path).await.expect(200);
        (replay["state"] == "done").then_some(replay)
    })
    .await;
    assert_eq!(ended["failedAgain"], 1);
    let discarded =
        api.post("/dead-letters/discard", json!({ "all": true, "reason": "no use" })).await;
    assert_eq!(discarded.expect(200)["count"], 1);
    let audit = api.get("/audit").await.expect(200);
    let actions: Vec<&Value> =
        audit["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["discard", "replay", "replay"]);
    assert_eq!(audit["data"][0]["actor"], "operator");
    assert_eq!(audit["data"][0]["origin"], "127.0.0.1");
    let page = api.get("/audit?action=replay&limit=1").await.expect(200);
    let next = page["nextCursor"].as_str().unwrap();
    let rest = api.get(&format!("/audit?action=replay&limit=1&cursor={next}")).await.expect(200);
    assert_eq!(rest["data"][0]["dryRun"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_or_changes_what_others_may_do_is_written_down() {
    let house = House::embedded().await;
    let api = house.anonymous();
    let sign_in = json!({ "email": "eve@example.com", "password": "wrong wrong wrong" });
    for _ in 0..3 {
        api.post("/sessions", sign_in.clone()).await.expect(401);
    }
    let made = house.member.post("/tokens", json!({ "name": "mine" })).await.expect(201);
    house.member.delete(&format!("/tokens/{}", made["id"])).await.expect(204);
    let audit = house.admin.get("/audit?limit=100").await.expect(200);
    let entries = audit["data"].as_array().unwrap();
    let found = |action: &str| -> Vec<&Value> {
        entries.iter().filter(|entry| entry["action"] == action).collect()
    };
    let failed = found("sign-in failed");
    assert_eq!((failed.len(), &failed[0]["actor"]), (3, &json!("eve@example.com")));
    assert_eq!(failed[0]["origin"], "127.0.0.1");
    let target = format!("token {} of user", made["id"]);
    for action in ["create token", "revoke token"] {
        let of_it = |entry: &&&Value| entry["target"].as_str().unwrap().starts_with(&target);
        assert_eq!(found(action).iter().filter(of_it).count(), 1, "{action}: {entries:?}");
    }
    let secret = made["token"].as_str().unwrap();
    assert!(!audit.to_string().contains(secret) && !audit.to_string().contains("wrong wrong"));
    assert_eq!(house.member.get("/audit").await.code(403), "forbidden");
}
