//! `ETag`, `If-None-Match` and `If-Match` on tasks.

use serde_json::{Value, json};

use taskd_testing::{Answer, Api, World, eventually};

async fn send(api: &Api, method: &str, path: &str, header: (&str, &str), body: Value) -> Answer {
    let mut request = api.request(method, path).header(header.0, header.1);
    if !body.is_null() {
        request = request.json(&body);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_with_a_task_has_its_entity_tag_also_from_the_cache() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    // A title that looks like the member that the tag is read from.
    let title = "\"version\":9,";
    let created = api.post("/tasks", json!({ "title": title })).await;
    assert_eq!((created.status, created.header("etag")), (201, "\"1\""));
    eventually("the cache is in use", || async {
        let read = api.get("/tasks/1").await;
        assert_eq!((read.status, read.header("etag")), (200, "\"1\""));
        (api.metric("taskd_cache_reads_total", "hit").await > 0.0).then_some(())
    })
    .await;
    let head = Answer::of(api.request("HEAD", "/tasks/1").send().await.unwrap()).await;
    assert_eq!((head.status, head.header("etag"), head.text.as_str()), (200, "\"1\"", ""));
    let patched = api.patch("/tasks/1", json!({ "title": "u" })).await;
    assert_eq!((patched.status, patched.header("etag")), (200, "\"2\""));
    for (title, tag) in [("u", "\"2\""), ("v", "\"3\""), ("v", "\"3\"")] {
        let put = api.put("/tasks/1", json!({ "title": title })).await;
        assert_eq!((put.status, put.header("etag")), (200, tag), "{title}");
        assert_eq!(api.get("/tasks/1").await.header("etag"), tag);
    }
    assert_eq!(api.get("/tasks/2").await.header("etag"), "");
    assert_eq!(api.get("/tasks").await.header("etag"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_version_is_not_sent_it_again() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    let read = async |method: &str, tags: &str| {
        send(&api, method, "/tasks/1", ("If-None-Match", tags), Value::Null).await
    };
    for tags in ["\"1\"", "W/\"1\"", "*", "\"7\", W/\"1\"", "\"a,b\",,\"1\""] {
        for method in ["GET", "HEAD"] {
            let answer = read(method, tags).await;
            let seen = (answer.status, answer.header("etag"), answer.text.as_str());
            assert_eq!(seen, (304, "\"1\"", ""), "{method} {tags}");
            assert_eq!(answer.header("content-type"), "", "{method} {tags}");
            assert_ne!(answer.header("x-request-id"), "");
        }
    }
    for tags in ["\"2\"", "\"11\"", "\"*\""] {
        let answer = read("GET", tags).await;
        assert_eq!((answer.status, answer.header("etag")), (200, "\"1\""), "{tags}");
        assert_eq!(answer.json()["title"], "t");
    }
    api.patch("/tasks/1", json!({ "title": "u" })).await.expect(200);
    assert_eq!(read("GET", "\"1\"").await.expect(200)["title"], "u");
    let missing = send(&api, "GET", "/tasks/2", ("If-None-Match", "*"), Value::Null).await;
    assert_eq!(missing.code(404), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_for_another_version_is_refused_and_changes_nothing() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let task = api.task("t", None).await;
    for (method, body) in [
        ("PUT", json!({ "title": "x" })),
        ("PATCH", json!({ "title": "x" })),
        // Also one that would change nothing.
        ("PUT", json!({ "title": "t" })),
        ("DELETE", Value::Null),
    ] {
        for header in [
            ("If-Match", "\"2\""),
            ("If-Match", "W/\"1\""),
            ("If-Match", "\"0\", \"2\""),
            ("If-None-Match", "\"1\""),
            ("If-None-Match", "*"),
        ] {
            let answer = send(&api, method, "/tasks/1", header, body.clone()).await;
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.code(412), "precondition_failed", "{method} {header:?}");
        }
        for name in ["If-Match", "If-None-Match"] {
            let answer = send(&api, method, "/tasks/1", (name, "1"), body.clone()).await;
            let problem = answer.expect(400);
            let fault = &problem["errors"][0];
            assert_eq!(
                (&fault["in"], &fault["pointer"]),
                (&json!("header"), &json!("/".to_owned() + name))
            );
        }
        let missing = send(&api, method, "/tasks/2", ("If-Match", "*"), body).await;
        assert_eq!(missing.code(404), "not_found", "{method}");
    }
    assert_eq!(api.get("/tasks/1").await.expect(200), task);
    assert_eq!(api.events().await.len(), 1);

    let write = async |tags: &str, title: &str| {
        send(&api, "PATCH", "/tasks/1", ("If-Match", tags), json!({ "title": title })).await
    };
    assert_eq!(write("\"1\"", "u").await.header("etag"), "\"2\"");
    assert_eq!(write("\"1\", \"2\"", "v").await.header("etag"), "\"3\"");
    assert_eq!(write("*", "w").await.header("etag"), "\"4\"");
    assert_eq!(write("\"4\"", "w").await.header("etag"), "\"4\"", "nothing changed");
    send(&api, "DELETE", "/tasks/1", ("If-Match", "\"4\""), Value::Null).await.expect(204);
    assert_eq!(write("\"5\"", "x").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn of_writers_who_have_read_the_same_version_exactly_one_wins() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let (holder, looker) = (world.db().await, world.db().await);
    one.api().task("t", None).await;
    let waiting =
        "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    for version in 1..=3 {
        // Nobody can write until all of them have read the version.
        holder.run("BEGIN; SELECT FROM tasks FOR UPDATE").await;
        let mut writers = tokio::task::JoinSet::new();
        for (number, serve) in [&one, &two, &one, &two].into_iter().enumerate() {
            let api = serve.api();
            let (method, body) = match number {
                0 | 1 => ("PATCH", json!({ "title": format!("{version} {number}") })),
                _ => ("PUT", json!({ "title": format!("{version} {number}") })),
            };
            let tag = format!("\"{version}\"");
            writers.spawn(async move {
                let header = ("If-Match", tag.as_str());
                send(&api, method, "/tasks/1", header, body).await.status
            });
        }
        eventually("all want to write", || async {
            (looker.count(waiting).await == 4).then_some(())
        })
        .await;
        holder.run("COMMIT").await;
        let mut statuses = writers.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412]);
    }
    assert_eq!(two.api().get("/tasks/1").await.header("etag"), "\"4\"");
    assert_eq!(looker.count("events").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_the_entity_tags() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let document = serve.api().get("/openapi.json").await.expect(200);
    let task = &document["paths"]["/tasks/{id}"];
    let has = |operation: &Value, name: &str| {
        let parameters = operation["parameters"].as_array().unwrap();
        parameters
            .iter()
            .any(|p| p["in"] == "header" && p["name"] == name && p["required"] == false)
    };
    for method in ["put", "patch", "delete"] {
        assert!(has(&task[method], "If-Match"), "{method}");
        assert!(task[method]["responses"]["412"].is_object(), "{method}");
    }
    assert!(has(&task["get"], "If-None-Match"));
    for pointer in [
        "/paths/~1tasks/post/responses/201",
        "/paths/~1tasks~1{id}/get/responses/200",
        "/paths/~1tasks~1{id}/get/responses/304",
        "/paths/~1tasks~1{id}/put/responses/200",
        "/paths/~1tasks~1{id}/patch/responses/200",
    ] {
        let response = document.pointer(pointer).unwrap();
        assert!(response["headers"]["ETag"].is_object(), "{pointer}");
    }
    assert!(document.pointer("/paths/~1tasks~1{id}/get/responses/304/content").is_none());
}
