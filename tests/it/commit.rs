//! A write is answered when it is committed, and not when its row has been seen.

use serde_json::json;

use taskd_testing::{Db, World};

/// Every table that a request writes.
const TABLES: [&str; 5] = ["tasks", "users", "categories", "tokens", "idempotency_keys"];

/// From now on a commit fails that has changed one of the tables. Until then all goes well: the server
/// sends the rows that a statement returns, and then says that the statement has failed after all.
async fn fail_commits(db: &Db) {
    db.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
         AS $$ BEGIN RAISE 'not committed' USING ERRCODE = 'disk_full'; END $$",
    )
    .await;
    for table in TABLES {
        db.run(&format!(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON {table}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        ))
        .await;
    }
}

/// What was written, without what the publisher notes of the events.
async fn contents(db: &Db) -> Vec<serde_json::Value> {
    let mut all = db.rows("SELECT id, task_id, type, payload FROM events ORDER BY 1").await;
    for table in TABLES {
        all.extend(db.rows(&format!("SELECT * FROM {table} ORDER BY 1")).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_write_whose_commit_fails_is_not_answered_as_done() {
    let world = World::new().await;
    let admin = world.token(&["--user", "1", "--admin"]).await;
    let serve = world.serve_with(&[("AUTH", "tokens")]).await;
    let api = serve.api().with_token(&admin);
    let task = api.task("t", Some(1)).await["id"].clone();
    let category = api.post("/categories", json!({ "name": "c" })).await.expect(201)["id"].clone();
    let user = api.user("b@example.com").await;
    let token = api.post("/tokens", json!({ "name": "t" })).await.expect(201)["id"].clone();
    let db = world.db().await;
    fail_commits(&db).await;
    let before = contents(&db).await;

    let credentials = json!({ "email": "b@example.com", "password": "correct horse" });
    let writes = [
        ("POST", "/tasks".to_owned(), json!({ "title": "u" })),
        ("PUT", format!("/tasks/{task}"), json!({ "title": "u" })),
        ("PATCH", format!("/tasks/{task}"), json!({ "title": "u" })),
        ("DELETE", format!("/tasks/{task}"), json!({})),
        ("POST", "/categories".to_owned(), json!({ "name": "d" })),
        ("PATCH", format!("/categories/{category}"), json!({ "name": "d" })),
        ("DELETE", format!("/categories/{category}"), json!({})),
        (
            "POST",
            "/users".to_owned(),
            json!({ "email": "c@example.com", "password": "correct horse" }),
        ),
        ("PATCH", format!("/users/{user}"), json!({ "name": "n" })),
        ("DELETE", format!("/users/{user}"), json!({})),
        ("POST", "/tokens".to_owned(), json!({ "name": "u" })),
        ("DELETE", format!("/tokens/{token}"), json!({})),
        ("POST", "/sessions".to_owned(), credentials),
    ];
    for (method, path, body) in &writes {
        for key in [None, Some("k")] {
            // Others refuse a key.
            if key.is_some() && *method != "POST" {
                continue;
            }
            let mut request = api.request(method, path).json(body);
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            let status = request.send().await.unwrap().status();
            assert!(status.is_server_error(), "{method} {path} {key:?}: {status}");
        }
    }
    assert_eq!(contents(&db).await, before);
}
