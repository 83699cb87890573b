//! What nobody is told who has no business to know it, and what of others' reaches a terminal.

use serde_json::{Value, json};

use crate::access::{House, TOKENS};
use taskd_testing::{Answer, Raw, World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_activity_of_a_task_that_was_somebody_elses_begins_with_its_new_user() {
    let house = House::embedded().await;
    let (admin, member, id) = (&house.admin, &house.member, house.member_id);
    let task =
        admin.post("/tasks", json!({ "title": "private one", "userId": 1 })).await.expect(201);
    let path = format!("/tasks/{}", task["id"]);
    admin.patch(&path, json!({ "description": "private two" })).await.expect(200);
    let given = json!({ "title": "public", "description": null, "userId": id });
    admin.patch(&path, given).await.expect(200);
    let own = json!({ "title": "own" });
    member.patch(&path, own).await.expect(200);
    let activity = format!("{path}/activity?total=true");
    let all = eventually("all of it is recorded", || async {
        let all = admin.get(&activity).await.expect(200);
        // The total is counted by a statement of its own.
        (all["data"].as_array().unwrap().len() == 4).then_some(all)
    })
    .await;
    assert!(all.to_string().contains("private one") && all.to_string().contains("private two"));
    let seen = member.get(&activity).await.expect(200);
    assert_eq!(seen["total"], 2);
    assert!(!seen.to_string().contains("private"), "{seen}");
    let changes = [&seen["data"][0]["changes"], &seen["data"][1]["changes"]];
    assert_eq!(*changes[0], json!({ "title": { "from": "public", "to": "own" } }));
    assert_eq!(changes[1]["title"], json!({ "from": null, "to": "public" }));
    assert_eq!(changes[1]["userId"], json!({ "from": null, "to": id }));
    // Page by page as well.
    let first = member.get(&format!("{path}/activity?limit=1")).await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = member.get(&format!("{path}/activity?limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!(
        (second["data"].as_array().unwrap().len(), &second["nextCursor"]),
        (1, &Value::Null)
    );
    // Taken and given back, it begins anew.
    admin.patch(&path, json!({ "userId": null, "title": "private three" })).await.expect(200);
    assert_eq!(member.get(&activity).await.code(404), "not_found");
    admin.patch(&path, json!({ "userId": id, "title": "public" })).await.expect(200);
    // Also before the worker has written that down.
    let seen = member.get(&activity).await.expect(200);
    assert!(!seen.to_string().contains("private") && !seen.to_string().contains("own\""), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_the_log_of_before_the_upgrade_says_of_owners_counts() {
    let world = World::new().await;
    let serve = world.serve().await;
    let _work = world.work("w", &[]).await;
    let api = serve.api();
    let other = api.user("ada@example.com").await;
    for title in ["given", "kept"] {
        api.task(title, Some(1)).await;
    }
    api.patch("/tasks/1", json!({ "title": "x" })).await.expect(200);
    api.patch("/tasks/1", json!({ "userId": other })).await.expect(200);
    let db = world.db().await;
    eventually("it is recorded", || async { (db.count("task_activity").await == 4).then_some(()) })
        .await;
    let since = async || {
        let rows = db.rows("SELECT owned_since FROM tasks ORDER BY id").await;
        rows.iter().map(|row| row["owned_since"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(since().await, [3, 1]);
    let backfill = include_str!("../../migrations/2026-11-27-000021_task_owner_before/up.sql");
    for record in ["DELETE FROM events", "DELETE FROM task_activity"] {
        db.run("UPDATE tasks SET owned_since = 1").await;
        db.run(&format!("BEGIN; {record}; {backfill} ;")).await;
        assert_eq!(since().await, [3, 1], "without {record}");
        db.run("ROLLBACK").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_wrong_and_not_where_anything_is() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let ready = serve.api().get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["dependencies"]["database"]["status"], "down");
    for part in ["127.0.0.1", "refused", "os error", ":1"] {
        assert!(!ready.text.replace("\":", "").contains(part), "{part}: {}", ready.text);
    }
    let logged = serve.log("why", |line| line["dependency"] == "database").await;
    assert!(logged["error"].as_str().unwrap().contains("can't be reached"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_metrics_of_a_worker_are_as_public_as_those_of_the_api() {
    let house = House::new().await;
    let work = house.world.work("w", &[("METRICS_PUBLIC", "false")]).await;
    let at = |api: &taskd_testing::Api| taskd_testing::Api { base: work.api().base, ..api.clone() };
    assert_eq!(work.api().get("/metrics").await.code(401), "unauthenticated");
    assert_eq!(work.api().with_token("taskd_x").get("/metrics").await.code(401), "invalid_token");
    assert_eq!(at(&house.member).get("/metrics").await.code(403), "forbidden");
    let metrics = at(&house.admin).get("/metrics").await;
    assert!(metrics.status == 200 && metrics.text.contains("taskd_"), "{metrics:?}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(work.api().get(path).await.status, 200, "{path}");
    }
    let open = house.world.work("open", &[]).await;
    assert_eq!(open.api().get("/metrics").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn nothing_printed_about_a_dead_letter_steers_a_terminal() {
    const BAD: &str = "\u{1b}]0;title\u{7}\u{9b}31m\r\u{202e}gpj";
    let world = World::new().await;
    world.declare().await;
    let amqp = world.amqp().await;
    let letter = Raw {
        body: format!("not an event {BAD}").into_bytes(),
        message_id: Some(format!("id {BAD}")),
        message_type: Some(format!("type {BAD}")),
        ..Raw::default()
    };
    amqp.publish(&world.dlq, letter).await;
    world.dead_letters(1).await;
    for arguments in [
        &["dlq", "list"] as &[&str],
        &["dlq", "show", &format!("id {BAD}")],
        &["dlq", "show", "--json", &format!("id {BAD}")],
        &["dlq", "show", &format!("none {BAD}")],
        &["dlq", "replay", &format!("none {BAD}")],
        &["dlq", "groups"],
        &["dlq", "show", &format!("none {BAD}"), "--json"],
    ] {
        let printed = world.run(arguments).await.output();
        let steers = printed.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(steers, None, "{arguments:?}: {printed:?}");
        assert!(printed.contains("gpj"), "{arguments:?}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_read_as_strictly_as_every_body() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let path = "/dead-letters/replays";
    for (wrong, detail) in [
        (json!({ "all": true, "x": 1 }), "x is not known here"),
        (json!({ "ids": "all" }), "ids must be a list of ids of letters or of their events"),
        (json!({}), "all say which letters: ids, group or another filter, or all"),
        (json!({ "all": true, "rate": 0 }), "rate must be a whole number from 1 to 1000000"),
        (json!({ "all": true, "canary": -1 }), "canary must be a whole number from 0 to 1000000"),
        (json!({ "all": true, "since": "yesterday" }), "since must be an RFC 3339 time"),
        (json!({ "all": "yes" }), "all must be true or false, not this text"),
        (json!([]), "the body must be a JSON object"),
    ] {
        let refused = api.post(path, wrong.clone()).await.expect(400);
        assert_eq!(refused["code"], "validation_failed", "{wrong}");
        let found = refused["detail"].as_str().unwrap();
        assert!(found.starts_with(detail), "{wrong}: {found}");
    }
    let long = api.post(path, json!({ "ids": vec!["x".repeat(1_000); 300] })).await;
    assert_eq!(long.code(413), "payload_too_large");
    for (kind, body, code) in [
        ("text/plain", r#"{"all":true}"#, "unsupported_media_type"),
        ("application/json", r#"{"all":"#, "malformed_json"),
        ("application/json", r#"{"all":true,"all":true}"#, "validation_failed"),
    ] {
        let request = api.request("POST", path).header("Content-Type", kind).body(body);
        let refused = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(refused.json()["code"], code, "{body}");
    }
    api.post(path, json!({ "all": true })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn one_who_ends_nothing_or_makes_tokens_up_empties_nobodys_place_among_the_known() {
    let house = House::new().await;
    let db = house.world.db().await;
    let stranger = house.admin.user("eve@example.com").await;
    let stranger = house.world.token(&["--user", &stranger.to_string()]).await;
    let stranger = house.anonymous().with_token(&stranger);
    stranger.get("/categories").await.expect(200);
    house.member.get("/categories").await.expect(200);
    assert_eq!(stranger.delete("/tokens/999").await.status, 404);
    assert_eq!(stranger.delete("/sessions/999").await.status, 404);
    let made = stranger.post("/tokens", json!({ "name": "t" })).await.expect(201);
    stranger.delete(&format!("/tokens/{}", made["id"])).await.expect(204);
    // Whoever asks for this table now waits; who is known does not.
    db.run("BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE").await;
    house.member.get("/categories").await.expect(200);
    db.run("ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_database_has_no_user_that_nobody_asked_for() {
    let world = World::unmigrated().await;
    world.run(&["migrate"]).await.succeeded();
    let db = world.db().await;
    assert_eq!(db.count("users").await, 0);
    let serve = world.serve_with(&TOKENS).await;
    let token = world.token(&["--user", "ada@example.com", "--admin"]).await;
    let admin = serve.api().with_token(&token);
    assert_eq!(admin.get("/users").await.expect(200)["data"][0]["email"], "ada@example.com");
    // User 1 is somebody already, and stays it.
    let kept = world.run(&["migrate", "--example"]).await.succeeded();
    assert!(kept.stdout.contains("already"), "{kept:?}");
    assert_eq!(db.count("users WHERE id = 1 AND email = 'ada@example.com'").await, 1);

    db.run("DELETE FROM users; ALTER SEQUENCE users_id_seq RESTART").await;
    let added = world.run(&["migrate", "--example"]).await.succeeded();
    assert!(added.stdout.contains("user1@example.com"), "{added:?}");
    assert_eq!(db.count("users WHERE id = 1 AND email = 'user1@example.com'").await, 1);
    let again = world.run(&["migrate", "--example"]).await.succeeded();
    assert!(again.stdout.contains("already"), "{again:?}");
    // The next one is user 2.
    world.token(&["--user", "ada@example.com"]).await;
    assert_eq!(db.number("SELECT max(id) FROM users").await, 2);
}
