//! `/users`.

use serde_json::{Value, json};

use taskd_testing::{Smtp, World, eventually, redis_contents};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_read_changed_and_deleted() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let input = json!({ "email": "Ada@Example.com", "name": "Ada", "password": "correct horse" });
    let answer = api.post("/users", input).await;
    assert_eq!(answer.header("location"), "/users/2");
    let user = answer.expect(201);
    let wanted = json!({
        "id": 2, "email": "Ada@Example.com", "name": "Ada", "role": "member", "createdAt": user["createdAt"],
        "updatedAt": user["createdAt"],
    });
    assert_eq!(user, wanted);
    assert_eq!(api.get("/users/2").await.expect(200), wanted);
    let page = api.get("/users?total=true").await.expect(200);
    assert_eq!(
        (&page["total"], &page["data"][1], &page["nextCursor"]),
        (&json!(2), &wanted, &Value::Null)
    );

    let user = api.patch("/users/2", json!({ "name": null })).await.expect(200);
    assert_eq!((&user["name"], &user["email"]), (&Value::Null, &json!("Ada@Example.com")));
    let user =
        api.patch("/users/2", json!({ "email": "ada@example.org", "name": "A" })).await.expect(200);
    assert_eq!((&user["name"], &user["email"]), (&json!("A"), &json!("ada@example.org")));
    for member in ["email", "password"] {
        let faults = api.patch("/users/2", json!({ member: null })).await.expect(400);
        assert_eq!(faults["errors"][0]["pointer"], format!("/{member}"));
    }
    assert_eq!(api.delete("/users/2").await.status, 204);
    for answer in [
        api.get("/users/2").await,
        api.delete("/users/2").await,
        api.patch("/users/2", json!({})).await,
    ] {
        assert_eq!(answer.code(404), "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_paged_by_id() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    for number in 2..=45 {
        api.user(&format!("{number}@example.com")).await;
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/users?limit=7{cursor}")).await.expect(200);
        ids.extend(
            page["data"].as_array().unwrap().iter().map(|user| user["id"].as_i64().unwrap()),
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids, (1..=45).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_address_is_taken_whatever_its_case() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.user("ada@example.com").await;
    let other = api.user("eve@example.com").await;
    let again = json!({ "email": "ADA@Example.COM", "password": "correct horse" });
    assert_eq!(api.post("/users", again).await.code(409), "email_taken");
    let path = format!("/users/{other}");
    assert_eq!(
        api.patch(&path, json!({ "email": "Ada@example.com" })).await.code(409),
        "email_taken"
    );
    // Their own address in another case is no conflict.
    assert_eq!(api.patch(&path, json!({ "email": "EVE@example.com" })).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_user_leaves_its_tasks_without_one_and_says_so() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let user = api.user("ada@example.com").await;
    for title in ["a", "b", "c"] {
        api.task(title, Some(user)).await;
    }
    api.task("another's", Some(1)).await;
    // In the cache before, so that it must be seen to leave it.
    assert_eq!(api.get("/tasks/1").await.expect(200)["userId"], user);
    assert_eq!(api.delete(&format!("/users/{user}")).await.status, 204);

    for id in 1..=3 {
        let task = api.get(&format!("/tasks/{id}")).await.expect(200);
        assert_eq!((&task["userId"], &task["version"]), (&Value::Null, &json!(2)));
    }
    assert_eq!(api.get("/tasks/4").await.expect(200)["userId"], 1);
    let mut events = api.events().await;
    events.retain(|event| event["taskVersion"] == 2);
    let mut of: Vec<i64> = events.iter().map(|event| event["taskId"].as_i64().unwrap()).collect();
    of.sort_unstable();
    assert_eq!(of, [1, 2, 3]);
    for event in events {
        assert_eq!(event["type"], "TASK_UPDATED");
        assert_eq!(event["payload"]["changes"], json!({ "userId": { "from": user, "to": null } }));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_password_and_its_hash_are_in_no_answer_event_log_mail_or_cache() {
    const PASSWORD: &str = "hunter2 hunter2";
    const OTHER: &str = "another secret";
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve_with(&[("LOG", "trace,tokio_postgres=info")]).await;
    let work = world.work("w", &[("SMTP_URL", &smtp.url()), ("LOG", "debug")]).await;
    let api = serve.api();
    let mut seen = String::new();

    let made =
        api.post("/users", json!({ "email": "ada@example.com", "password": PASSWORD })).await;
    seen.push_str(&made.text);
    let changed = api.patch("/users/2", json!({ "password": OTHER, "name": "Ada" })).await;
    assert_eq!(changed.status, 200);
    seen.push_str(&changed.text);
    // Refusals quote no values.
    for password in [json!([PASSWORD]), json!(OTHER.repeat(20)), json!({ "is": PASSWORD })] {
        let refused = api.post("/users", json!({ "email": "no", "password": password })).await;
        assert_eq!(refused.status, 400);
        seen.push_str(&refused.text);
    }
    api.task("t", Some(2)).await;
    for path in ["/users", "/users/2", "/tasks", "/tasks/1", "/metrics"] {
        seen.push_str(&api.get(path).await.text);
    }
    smtp.wait_for(1).await;
    let db = world.db().await;
    eventually("the activity", || async { (db.count("task_activity").await == 1).then_some(()) })
        .await;
    for table in ["events", "task_activity", "processed_messages"] {
        seen.push_str(&json!(db.rows(&format!("SELECT * FROM {table}")).await).to_string());
    }
    seen.push_str(&smtp.mails().into_iter().map(|mail| mail.raw).collect::<String>());
    seen.push_str(&redis_contents(&world.prefix).await);
    seen.push_str(&serve.text());
    seen.push_str(&work.text());
    for secret in [PASSWORD, OTHER, "argon2", "password_hash", "passwordHash"] {
        assert!(!seen.contains(secret), "{secret} is in {seen}");
    }
    let hash = db.rows("SELECT password_hash FROM users WHERE id = 2").await;
    assert!(hash[0]["password_hash"].as_str().unwrap().starts_with("$argon2id$v=19$"));
}
