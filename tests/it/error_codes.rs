//! What an error of the database means is told by its SQLSTATE, in whatever language its text is.

use chrono::Utc;
use serde_json::json;
use taskd::ground::tls::Tls;
use taskd::store::{PostgresUrl, Store, StoreError, categories};

use taskd_testing::{Api, Db, Process, World, eventually};

/// Makes each insert into a table fail with this code and a text that no program knows.
async fn fail_inserts(db: &Db, table: &str, code: &str) {
    db.run(&format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'auf dem Gerät ist kein Platz mehr: «%»', TG_TABLE_NAME USING ERRCODE = '{code}';
         END $$;
         CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON {table}
             FOR EACH ROW EXECUTE FUNCTION refuse()"
    ))
    .await;
}

async fn mend(db: &Db, table: &str) {
    db.run(&format!("DROP TRIGGER refuse ON {table}")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_code_has_its_meaning() {
    let world = World::new().await;
    let db = world.db().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let unavailable = [
        "08000", "08003", "08006", "08P01", "53000", "53100", "53200", "53300", "53400", "57P01",
        "57P02", "57P03", "57P04", "57P05", "25006",
    ];
    let meanings = unavailable
        .map(|code| (code, "unavailable"))
        .into_iter()
        .chain(["40001", "40P01", "55P03"].map(|code| (code, "conflict")))
        .chain([("57014", "too slow")])
        .chain(["XX000", "P0001", "58000", "57000", "22012", "42P01"].map(|code| (code, "fault")));
    for (code, meaning) in meanings {
        fail_inserts(&db, "categories", code).await;
        let mut connection = store.connection().await.unwrap();
        let error =
            categories::insert(&mut connection, "name".into(), Utc::now()).await.unwrap_err();
        let found = match &error {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Conflict(_) => "conflict",
            StoreError::TooSlow(_) => "too slow",
            StoreError::Fault(_) => "fault",
            _ => "another",
        };
        assert_eq!(found, meaning, "{code}: {error}");
        assert!(error.to_string().contains(code), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_write_that_meets_an_outage_is_503_and_one_that_meets_a_fault_500() {
    let world = World::new().await;
    let (serve, db) = (world.serve().await, world.db().await);
    let api = serve.api();
    for (code, status, problem) in [
        ("53100", 503, "unavailable"),
        ("57P01", 503, "unavailable"),
        ("40P01", 503, "unavailable"),
        ("57014", 503, "timeout"),
        ("XX000", 500, "internal"),
    ] {
        fail_inserts(&db, "tasks", code).await;
        let answer = api.post("/tasks", json!({ "title": "t" })).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(problem)),
            "{code}"
        );
    }
    mend(&db, "tasks").await;
    api.task("t", None).await;
}

async fn worker_and_task(world: &World, db: &Db, code: &str) -> (Process, Process, Api) {
    let work = world.work("w", &[]).await;
    let serve = world.serve().await;
    fail_inserts(db, "task_activity", code).await;
    let api = serve.api();
    api.task("t", Some(1)).await;
    (work, serve, api)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_worker_holds_what_it_has_while_the_disk_is_full_in_any_language() {
    for code in ["53100", "57P05", "25006"] {
        let world = World::new().await;
        let db = world.db().await;
        let (work, _serve, _) = worker_and_task(&world, &db, code).await;
        work.log("it holds", |line| {
            line["message"] == "holding deliveries until the database is back"
        })
        .await;
        mend(&db, "task_activity").await;
        eventually("the event has its effect", || async {
            (db.count("task_activity").await == 1).then_some(())
        })
        .await;
        assert_eq!(world.open_letters().await.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_statement_that_always_takes_too_long_ends_as_a_dead_letter_and_holds_nobody() {
    for code in ["57014", "40001"] {
        let world = World::new().await;
        let db = world.db().await;
        let _running = worker_and_task(&world, &db, code).await;
        let letter = world.dead_letters(1).await.remove(0);
        assert_eq!(letter["reason"], "retries-exhausted", "{letter}");
        assert!(letter["error"].as_str().unwrap().contains(code), "{letter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_conflict_that_passes_is_not_an_attempt() {
    let world = World::new().await;
    let db = world.db().await;
    let work = world.work("w", &[]).await;
    let serve = world.serve().await;
    // The first two inserts meet a deadlock; sequences are not rolled back.
    db.run(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('tries') > 2 THEN RETURN NEW; END IF;
             RAISE EXCEPTION 'blocage mutuel' USING ERRCODE = '40P01';
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON task_activity
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    .await;
    serve.api().task("t", Some(1)).await;
    let line = work.log("it is processed", |line| line["outcome"] == "processed").await;
    assert_eq!(line["attempt"], 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_write_that_meets_a_conflict_that_passes_is_done_whatever_it_writes() {
    const TABLES: [&str; 5] = ["tasks", "categories", "users", "tokens", "idempotency_keys"];
    let world = World::new().await;
    let admin = world.token(&["--user", "admin@example.com", "--admin"]).await;
    let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let (api, db) = (serve.api().with_token(&admin), world.db().await);
    let user = json!({ "email": "a@example.com", "name": "a", "password": "correct horse" });
    let user = api.post("/users", user).await.json()["id"].clone();
    db.run(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('tries') > 2 THEN RETURN coalesce(NEW, OLD); END IF;
             RAISE EXCEPTION 'blocage mutuel' USING ERRCODE = TG_ARGV[0];
         END $$",
    )
    .await;
    for code in ["40001", "40P01", "55P03"] {
        let task = api.task("t", None).await["id"].clone();
        let name = |name: &str| json!({ "name": format!("{name} {code}") });
        let unused = api.post("/tokens", name("unused")).await.expect(201);
        let unused = serve.api().with_token(unused["token"].as_str().unwrap());
        let category = api.post("/categories", name("c")).await.json()["id"].clone();
        for table in TABLES {
            db.run(&format!(
                "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON {table}
                     FOR EACH ROW EXECUTE FUNCTION refuse('{code}')"
            ))
            .await;
        }
        let sign_in = json!({ "email": "a@example.com", "password": "correct horse" });
        let new_user = json!({ "email": format!("{code}@example.com"), "name": "b",
                               "password": "correct horse" });
        let by_user = format!("/users/{user}");
        let (by_task, by_category) = (format!("/tasks/{task}"), format!("/categories/{category}"));
        let title = json!({ "title": "u" });
        for (method, path, key, body) in [
            ("POST", "/tasks", "", &title),
            ("POST", "/tasks", "k1", &title),
            ("PATCH", &by_task, "", &title),
            ("DELETE", &by_task, "", &json!(null)),
            ("POST", "/categories", "", &name("d")),
            ("POST", "/categories", "k2", &name("e")),
            ("PATCH", &by_category, "", &name("f")),
            ("DELETE", &by_category, "", &json!(null)),
            ("POST", "/users", "", &new_user),
            ("PATCH", &by_user, "", &json!({ "name": code })),
            ("PATCH", &by_user, "", &json!({ "password": "correct horse" })),
            ("POST", "/sessions", "", &sign_in),
            ("POST", "/sessions", "k3", &sign_in),
            ("POST", "/tokens", "", &name("t")),
        ] {
            db.run("SELECT setval('tries', 1, false)").await;
            let mut request = api.request(method, path);
            if !key.is_empty() {
                request = request.header("Idempotency-Key", format!("{key}-{code}"));
            }
            if !body.is_null() {
                request = request.json(body);
            }
            let answer = taskd_testing::Answer::of(request.send().await.unwrap()).await;
            assert!((200..300).contains(&answer.status), "{code} {method} {path}: {answer:?}");
        }
        db.run("SELECT setval('tries', 1, false)").await;
        unused.get("/tasks").await.expect(200);
        for table in TABLES {
            mend(&db, table).await;
        }
    }
}
