//! `Idempotency-Key`: a POST that is carried out once, whatever happens to it.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use taskd_testing::{Answer, Api, Db, World, eventually};

/// Where backends of this database wait for a lock.
const WAITING: &str =
    "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";

pub async fn post(api: &Api, path: &str, key: &str, body: &Value) -> Answer {
    let request = api.request("POST", path).header("Idempotency-Key", key).json(body);
    Answer::of(request.send().await.unwrap()).await
}

pub async fn waits_for_a_lock(db: &Db) {
    eventually("it waits for a lock", || async { (db.count(WAITING).await == 1).then_some(()) })
        .await;
}

/// Sends a task under the key k, which gets as far as this table and no further until `holder` commits.
async fn stuck(
    api: &Api,
    body: &Value,
    table: &str,
    holder: &Db,
    looker: &Db,
) -> JoinHandle<reqwest::Result<reqwest::Response>> {
    holder.run(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await;
    let request = api.request("POST", "/tasks").header("Idempotency-Key", "k").json(body);
    let first = tokio::spawn(request.send());
    waits_for_a_lock(looker).await;
    first
}

/// How many tasks there are, and events, and keys.
async fn counts(db: &Db) -> [i64; 3] {
    [db.count("tasks").await, db.count("events").await, db.count("idempotency_keys").await]
}

/// What must be the same in every answer to one request: not its id, nor when it was answered.
pub fn lasting(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| {
            !["x-request-id", "date", "idempotency-replayed"].contains(&name.as_str())
                && !name.starts_with("ratelimit")
        })
        .collect();
    headers.sort();
    (answer.status, answer.text.clone(), headers)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn of_racing_repeats_on_two_instances_one_is_carried_out() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let db = world.db().await;
    for round in 1..=5 {
        let mut racing = tokio::task::JoinSet::new();
        for number in 0..16 {
            let api = if number % 2 == 0 { one.api() } else { two.api() };
            racing.spawn(async move {
                post(&api, "/tasks", &format!("key-{round}"), &json!({ "title": "t" })).await
            });
        }
        let mut first = 0;
        for answer in racing.join_all().await {
            match answer.status {
                409 => {
                    assert_eq!(answer.header("retry-after"), "1");
                    assert_eq!(answer.code(409), "idempotency_key_in_use");
                }
                _ => {
                    first += i32::from(answer.header("idempotency-replayed").is_empty());
                    assert_eq!(answer.expect(201)["id"], round);
                }
            }
        }
        assert_eq!(first, 1, "one was carried out, the others got its answer");
        assert_eq!(counts(&db).await, [round; 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_repeat_is_answered_with_the_same_bytes_and_headers() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let bodies = [
        ("/tasks", json!({ "title": "é\"", "userId": 1 })),
        ("/users", json!({ "email": "ada@example.com", "password": "correct horse" })),
        ("/categories", json!({ "name": "c" })),
    ];
    let mut answers = Vec::new();
    // One key for all: a key is another on another path.
    for (path, body) in &bodies {
        let answer = post(&one.api(), path, "k", body).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (201, ""), "{path}");
        assert!(answer.header("location").starts_with(&format!("{path}/")));
        answers.push(answer);
    }
    assert_eq!(answers[0].header("etag"), "\"1\"");
    one.api().patch("/tasks/1", json!({ "title": "changed since" })).await.expect(200);
    for (first, (path, body)) in answers.iter().zip(&bodies) {
        for (api, key) in [(one.api(), "k"), (two.api(), "\"k\"")] {
            let again = post(&api, path, key, body).await;
            assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
            assert_eq!(lasting(&again), lasting(first), "{path}");
        }
    }
    let db = world.db().await;
    assert_eq!(counts(&db).await, [1, 2, 3]);
    assert_eq!((db.count("users").await, db.count("categories").await), (2, 1));
    // The same document, written in another way.
    let spelled = one.api().request("POST", "/tasks").header("Idempotency-Key", "k");
    let spelled = spelled
        .header("Content-Type", "application/json; charset=utf-8")
        .body(" {\"userId\": 1,\"title\":\"\\u00e9\\\"\"}\n");
    assert_eq!(lasting(&Answer::of(spelled.send().await.unwrap()).await), lasting(&answers[0]));
    for (path, body) in [
        ("/tasks", json!({ "title": "é\"" })),
        ("/users", json!({ "email": "eve@example.com", "password": "correct horse" })),
    ] {
        let answer = post(&two.api(), path, "k", &body).await;
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.code(422), "idempotency_key_reused", "{path}");
    }
    assert_eq!(counts(&db).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn nothing_is_kept_of_a_password_not_even_in_the_fingerprint() {
    let world = World::new().await;
    let serve = world.serve().await;
    let user = |password: &str| json!({ "email": "ada@example.com", "password": password });
    let first = post(&serve.api(), "/users", "k", &user("correct horse")).await;
    let again = post(&serve.api(), "/users", "k", &user("battery staple")).await;
    assert_eq!(lasting(&again), lasting(&first));
    let kept = world.db().await.rows("SELECT * FROM idempotency_keys").await;
    let body = first.json();
    assert_eq!(body.get("password"), None);
    assert!(!json!(kept).to_string().contains("correct horse"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn while_a_request_is_carried_out_its_repeat_is_told_to_wait() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let (holder, looker) = (world.db().await, world.db().await);
    let body = json!({ "title": "t" });
    let first = stuck(&one.api(), &body, "tasks", &holder, &looker).await;
    for api in [one.api(), two.api()] {
        let answer = post(&api, "/tasks", "k", &body).await;
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.code(409), "idempotency_key_in_use");
    }
    // Another key and another path don't wait.
    post(&two.api(), "/categories", "k", &json!({ "name": "c" })).await.expect(201);
    holder.run("COMMIT").await;
    let first = Answer::of(first.await.unwrap().unwrap()).await;
    assert_eq!(first.status, 201);
    assert_eq!(lasting(&post(&two.api(), "/tasks", "k", &body).await), lasting(&first));
    assert_eq!(counts(&looker).await, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_request_whose_instance_is_killed_before_the_commit_runs_on_another() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let (holder, looker) = (world.db().await, world.db().await);
    let body = json!({ "title": "t" });
    let first = stuck(&one.api(), &body, "tasks", &holder, &looker).await;
    one.kill_9().await;
    assert!(first.await.unwrap().is_err(), "it got no answer");
    assert_eq!(post(&two.api(), "/tasks", "k", &body).await.code(409), "idempotency_key_in_use");
    holder.run("COMMIT").await;
    // Free as soon as the database has noticed whom it was working for.
    let answer = eventually("it is carried out", || async {
        let answer = post(&two.api(), "/tasks", "k", &body).await;
        (answer.status != 409).then_some(answer)
    })
    .await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (201, ""));
    assert_eq!(counts(&looker).await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_request_whose_instance_is_killed_after_the_commit_is_answered_by_another() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let (holder, looker) = (world.db().await, world.db().await);
    let body = json!({ "title": "t" });
    for _ in 0..2 {
        assert_eq!(two.api().get("/tasks").await.expect(200)["data"], json!([]));
    }
    // A write that is committed makes the cache forget, for which it asks this table.
    let first = stuck(&one.api(), &body, "cache_guard", &holder, &looker).await;
    assert_eq!(counts(&looker).await, [1, 1, 1], "it is committed");
    one.kill_9().await;
    assert!(first.await.unwrap().is_err(), "it got no answer");
    holder.run("COMMIT").await;
    let answer = post(&two.api(), "/tasks", "k", &body).await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (201, "true"));
    let task = answer.json();
    // It has been answered now, so every read from here on sees it.
    assert_eq!(two.api().get("/tasks").await.expect(200)["data"], json!([task]));
    assert_eq!(counts(&looker).await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    use tokio::io::AsyncWriteExt;
    let world = World::new().await;
    // With one connection, one that is left in a transaction would show.
    let serve = world.serve_with(&[("DATABASE_POOL_SIZE", "1")]).await;
    let (holder, looker) = (world.db().await, world.db().await);
    holder.run("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await;
    let api = serve.api();
    let address = api.base.strip_prefix("http://").unwrap();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Idempotency-Key: k\r\nContent-Length: 13\r\n\r\n{\"title\":\"t\"}";
    client.write_all(request.as_bytes()).await.unwrap();
    waits_for_a_lock(&looker).await;
    drop(client);
    assert_eq!(looker.count("idempotency_keys").await, 0);
    holder.run("COMMIT").await;
    eventually("it is carried out to the end", || async {
        (counts(&looker).await == [1, 1, 1]).then_some(())
    })
    .await;
    let answer = post(&api, "/tasks", "k", &json!({ "title": "t" })).await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (201, "true"));
    api.task("another", None).await;
    let open = "pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()";
    assert_eq!(looker.count(open).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_error_is_not_kept_and_a_corrected_request_may_follow() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let db = world.db().await;
    for body in [json!({ "title": "t", "userId": 999 }), json!({ "title": "" })] {
        for _ in 0..2 {
            assert_eq!(post(&api, "/tasks", "k", &body).await.code(400), "validation_failed");
        }
    }
    post(&api, "/tasks", "k", &json!({ "title": "t", "userId": 1 })).await.expect(201);
    let user = |email: &str| json!({ "email": email, "password": "correct horse" });
    for _ in 0..2 {
        let answer = post(&api, "/users", "k", &user("user1@example.com")).await;
        assert_eq!(answer.code(409), "email_taken");
    }
    post(&api, "/users", "k", &user("ada@example.com")).await.expect(201);
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    for name in ["c", "d"] {
        let answer = post(&api, "/categories", "k", &json!({ "name": name })).await;
        assert_eq!(answer.status, if name == "c" { 409 } else { 201 });
    }
    assert_eq!(counts(&db).await, [1, 1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_key_that_is_none_is_refused_and_a_read_has_none() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"k", "a b", &long] {
        let problem = post(&api, "/tasks", key, &json!({ "title": "t" })).await.expect(400);
        let fault = &problem["errors"][0];
        assert_eq!(
            (&fault["in"], &fault["pointer"]),
            (&json!("header"), &json!("/Idempotency-Key")),
            "{key}"
        );
    }
    let twice = api.request("POST", "/tasks").header("Idempotency-Key", "a");
    let twice = twice.header("Idempotency-Key", "b").json(&json!({ "title": "t" }));
    assert_eq!(Answer::of(twice.send().await.unwrap()).await.code(400), "validation_failed");
    post(&api, "/tasks", &"k".repeat(255), &json!({ "title": "t" })).await.expect(201);
    let read = api.request("GET", "/tasks/1").header("Idempotency-Key", "");
    assert_eq!(read.send().await.unwrap().status(), 200);
    assert_eq!(counts(&world.db().await).await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_key_expires_and_is_purged() {
    let world = World::new().await;
    let serve = world.serve_with(&[("IDEMPOTENCY_RETENTION", "2h")]).await;
    let api = serve.api();
    let db = world.db().await;
    post(&api, "/tasks", "k", &json!({ "title": "t" })).await.expect(201);
    post(&api, "/tasks", "l", &json!({ "title": "t" })).await.expect(201);
    let of_two_hours = "idempotency_keys
         WHERE expires_at BETWEEN now() + interval '1 hour' AND now() + interval '2 hours'";
    assert_eq!(db.count(of_two_hours).await, 2);
    db.run("UPDATE idempotency_keys SET expires_at = now() WHERE key = 'k'").await;
    // Not found any more, though it is still there: another body is a new request, and is kept.
    for replayed in ["", "true"] {
        let answer = post(&api, "/tasks", "k", &json!({ "title": "u" })).await;
        assert_eq!(answer.header("idempotency-replayed"), replayed);
        assert_eq!(answer.expect(201)["id"], 3);
    }
    assert_eq!(counts(&db).await, [3, 3, 2]);
    db.run("UPDATE idempotency_keys SET expires_at = now() WHERE key = 'k'").await;
    db.run(
        "INSERT INTO idempotency_keys SELECT caller, route, key || n, fingerprint, status, headers, body, now()
         FROM idempotency_keys, generate_series(1, 6000) n WHERE key = 'l'",
    )
    .await;
    let purged = world.run(&["purge", "--once"]).await.succeeded().json();
    assert_eq!(purged["idempotencyKeys"], 6001);
    assert_eq!(counts(&db).await, [3, 3, 1]);
    for (retention, why) in [("0s", "zero"), ("366d", "365d"), ("x", "duration")] {
        let more = [("IDEMPOTENCY_RETENTION", retention)];
        let refused = world.run_with(&["serve"], &more).await.exited(2);
        assert!(refused.stderr.contains("IDEMPOTENCY_RETENTION"), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_on_the_embedded_database() {
    let world = World::alone();
    let up = world.up(&[], &[]).await;
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let api = up.api();
        racing.spawn(async move {
            let body = json!({ "email": "ada@example.com", "password": "correct horse" });
            post(&api, "/users", "u", &body).await.expect(201);
            post(&api, "/tasks", "k", &json!({ "title": "t" })).await.expect(201)
        });
    }
    let tasks = racing.join_all().await;
    assert!(tasks.iter().all(|task| task == &tasks[0]), "{tasks:?}");
    let missing = post(&up.api(), "/tasks", "l", &json!({ "title": "t", "userId": 99 })).await;
    assert_eq!(missing.code(400), "validation_failed");
    let other = post(&up.api(), "/tasks", "k", &json!({ "title": "u" })).await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    for (path, total) in [("/tasks", 1), ("/users", 2)] {
        let page = up.api().get(&format!("{path}?total=true")).await.expect(200);
        assert_eq!(page["total"], total, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_the_key_on_every_post() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let document = serve.api().get("/openapi.json").await.expect(200);
    let mut posts = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // An order about dead letters or a webhook does the same when it is repeated.
            if operation["tags"][0] == "operation" || path.starts_with("/webhooks/") {
                continue;
            }
            let empty = vec![];
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let key = parameters.iter().find(|p| p["name"] == "Idempotency-Key");
            assert_eq!(key.is_some(), method == "post", "{method} {path}");
            let Some(key) = key else { continue };
            posts += 1;
            assert_eq!((&key["in"], &key["required"]), (&json!("header"), &json!(false)));
            assert_eq!(key["schema"]["maxLength"], 255);
            let responses = &operation["responses"];
            assert!(responses["201"]["headers"]["Idempotency-Replayed"].is_object(), "{path}");
            assert!(responses["409"]["headers"]["Retry-After"].is_object(), "{path}");
            assert!(responses["422"].is_object(), "{path}");
        }
    }
    assert_eq!(posts, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_refused_where_it_would_not_be_looked_at() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    api.post("/categories", json!({ "name": "c" })).await.expect(201);
    for (method, path, body) in [
        ("PUT", "/tasks/1", json!({ "title": "u" })),
        ("PATCH", "/tasks/1", json!({ "title": "u" })),
        ("DELETE", "/tasks/1", json!({})),
        ("PATCH", "/users/1", json!({ "name": "u" })),
        ("PATCH", "/categories/1", json!({ "name": "u" })),
        ("DELETE", "/categories/1", json!({})),
        ("DELETE", "/users/1", json!({})),
        ("POST", "/dead-letters/discard", json!({ "all": true })),
    ] {
        let request = api.request(method, path).header("Idempotency-Key", "k").json(&body);
        let refused = Answer::of(request.send().await.unwrap()).await.expect(400);
        assert_eq!(refused["errors"][0]["pointer"], "/Idempotency-Key", "{method} {path}");
        assert_eq!(refused["errors"][0]["in"], "header", "{method} {path}");
    }
    assert_eq!(api.get("/tasks/1").await.expect(200)["version"], 1);
    assert_eq!(api.get("/categories/1").await.expect(200)["name"], "c");
}
