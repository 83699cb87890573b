//! The audit log: what is done and what is written down of it happen together or not at all.

use serde_json::{Value, json};

use taskd_testing::{Smtp, World};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_can_not_be_written_down_is_not_done() {
    let world = World::new().await;
    let serve = world.serve().await;
    let (api, db) = (serve.api(), world.db().await);
    let user = api.user("ann@example.com").await;
    let password = json!({ "email": "ann@example.com", "password": "correct horse" });
    let session = api.post("/sessions", password.clone()).await.expect(201);
    let signed_in = api.with_token(session["token"].as_str().unwrap());
    db.run("ALTER TABLE audit ADD CONSTRAINT full_up CHECK (false) NOT VALID").await;
    let counts = async || {
        let admins = db.number("SELECT count(*) FROM users WHERE role = 'admin'").await;
        [db.count("users").await, db.count("tokens").await, db.count("audit").await, admins]
    };
    let before = counts().await;

    let other = json!({ "email": "bob@example.com", "password": "correct horse" });
    api.post("/users", other.clone()).await.expect(500);
    api.patch(&format!("/users/{user}"), json!({ "role": "admin" })).await.expect(500);
    api.post("/sessions", password).await.expect(500);
    signed_in.post("/tokens", json!({ "name": "mine" })).await.expect(500);
    api.delete(&format!("/users/{user}/sessions")).await.expect(500);
    signed_in.delete("/sessions/current").await.expect(500);
    let keyed = api.request("POST", "/users").header("idempotency-key", "k").json(&other);
    assert_eq!(keyed.send().await.unwrap().status(), 500);
    world.run(&["token", "revoke", "--user", "ann@example.com", "--all"]).await.exited(1);
    assert_eq!(counts().await, before);

    db.run("ALTER TABLE audit DROP CONSTRAINT full_up").await;
    let keyed = api.request("POST", "/users").header("idempotency-key", "k").json(&other);
    assert_eq!(keyed.send().await.unwrap().status(), 201);
    api.patch(&format!("/users/{user}"), json!({ "role": "admin" })).await.expect(200);
    signed_in.delete("/sessions/current").await.expect(204);
    let after = counts().await;
    assert_eq!(
        [after[0] - before[0], after[1] - before[1], after[2] - before[2], after[3] - before[3]],
        [1, -1, 3, 1]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_replay_that_can_not_be_written_down_is_not_begun() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (serve, _work, letter) = world.with_a_dead_letter(&smtp).await;
    let (api, db) = (serve.api(), world.db().await);
    db.run("ALTER TABLE audit ADD CONSTRAINT full_up CHECK (false) NOT VALID").await;
    api.post("/dead-letters/replays", json!({ "all": true })).await.expect(500);
    let path = format!("/dead-letters/{}/edit", letter["id"].as_str().unwrap());
    let events = api.events().await;
    api.post(&path, json!({ "payload": events[0]["payload"] })).await.expect(500);
    assert_eq!((db.count("replays").await, db.count("events").await), (0, 1));
    assert_eq!(world.open_letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_written_down_whether_it_is_given_with_the_user_or_later() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let new = json!({ "email": "ann@example.com", "password": "correct horse", "role": "admin" });
    let id = api.post("/users", new).await.expect(201)["id"].as_i64().unwrap();
    api.patch(&format!("/users/{id}"), json!({ "role": "member" })).await.expect(200);
    api.patch(&format!("/users/{id}"), json!({ "name": "Ann" })).await.expect(200);
    let audit = api.get("/audit?action=change%20role").await.expect(200);
    let entries = audit["data"].as_array().unwrap();
    let told: Vec<(&Value, &Value)> =
        entries.iter().map(|entry| (&entry["target"], &entry["details"])).collect();
    let target = json!(format!("user {id}"));
    let (given, changed) =
        (json!({ "role": "admin", "isNewUser": true }), json!({ "role": "member" }));
    assert_eq!(told, [(&target, &changed), (&target, &given)]);
}
