//! `/tasks`: writing, reading, changing, deleting.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use taskd_testing::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_the_readme_makes_a_task() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let body = r#"{ "title": "Write Docs", "description": "Testing async", "status": "in-progress", "userId": 1 }"#;
    let request =
        api.request("POST", "/tasks").header("Content-Type", "application/json").body(body);
    let answer = taskd_testing::Answer::of(request.send().await.unwrap()).await;

    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("location"), "/tasks/1");
    let task = answer.expect(201);
    let moment = task["createdAt"].clone();
    assert!(moment.as_str().unwrap().ends_with('Z'), "{moment}");
    let wanted = json!({
        "id": 1, "title": "Write Docs", "description": "Testing async", "status": "in-progress", "userId": 1,
        "categoryId": null, "dueAt": null, "version": 1, "createdAt": moment, "updatedAt": moment,
        "completedAt": null,
    });
    assert_eq!(task, wanted);
    assert_eq!(api.get("/tasks/1").await.expect(200), wanted);
    assert_eq!(
        api.get("/tasks").await.expect(200),
        json!({ "data": [wanted], "nextCursor": null })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_alone_makes_a_pending_task() {
    let world = World::embedded();
    let serve = world.serve().await;
    let task = serve.api().post("/tasks", json!({ "title": "é𝄞" })).await.expect(201);
    for (member, value) in [("status", json!("pending")), ("title", json!("é𝄞"))] {
        assert_eq!(task[member], value);
    }
    for member in ["description", "userId", "categoryId", "dueAt", "completedAt"] {
        assert_eq!(task[member], Value::Null, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_leaves_what_is_absent_and_clears_what_is_null() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let category = api.post("/categories", json!({ "name": "c" })).await.expect(201)["id"].clone();
    let whole = json!({
        "title": "t", "description": "d", "status": "in-progress", "userId": 1, "categoryId": category,
        "dueAt": "2030-01-31T14:00:00.123456789+02:00",
    });
    let before = api.post("/tasks", whole).await.expect(201);
    // In UTC, and as precise as it is kept.
    assert_eq!(before["dueAt"], "2030-01-31T12:00:00.123456Z");

    let mut wanted = before.clone();
    for (number, member) in ["description", "userId", "categoryId", "dueAt"].into_iter().enumerate()
    {
        let task = api.patch("/tasks/1", json!({ member: null })).await.expect(200);
        wanted[member] = Value::Null;
        wanted["version"] = json!(number + 2);
        wanted["updatedAt"] = task["updatedAt"].clone();
        assert_eq!(task, wanted);
        assert_eq!(api.get("/tasks/1").await.expect(200), wanted);
    }
    for member in ["title", "status"] {
        let faults = api.patch("/tasks/1", json!({ member: null })).await.expect(400);
        assert_eq!(faults["errors"][0]["pointer"], format!("/{member}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_leap_second_is_answered_as_it_is_stored() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let body = json!({ "title": "t", "dueAt": "2016-12-31T23:59:60.5Z" });
    let task = api.post("/tasks", body.clone()).await.expect(201);
    assert_eq!(task["dueAt"], "2017-01-01T00:00:00.500Z");
    assert_eq!(api.get("/tasks/1").await.expect(200), task);
    assert_eq!(api.put("/tasks/1", body).await.expect(200)["version"], 1);
    let message = &world.amqp().await.take_all(&world.queue, 1).await[0];
    assert_eq!(message.json()["payload"]["dueAt"], task["dueAt"]);
    let last = json!({ "title": "t", "dueAt": "9999-12-31T23:59:60Z" });
    assert_eq!(api.post("/tasks", last).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_patch_may_come_under_its_own_media_type() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    for kind in
        ["application/merge-patch+json", "application/json; charset=utf-8", "Application/JSON"]
    {
        let request =
            api.request("PATCH", "/tasks/1").header("Content-Type", kind).body(r#"{"title":"u"}"#);
        assert_eq!(request.send().await.unwrap().status(), 200, "{kind}");
    }
    let request =
        api.request("POST", "/tasks").header("Content-Type", "application/merge-patch+json");
    assert_eq!(request.body(r#"{"title":"u"}"#).send().await.unwrap().status(), 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_replaces_the_whole_task() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let whole = json!({ "title": "t", "description": "d", "status": "completed", "userId": 1 });
    let before = api.post("/tasks", whole).await.expect(201);
    let task = api.put("/tasks/1", json!({ "title": "u" })).await.expect(200);
    let wanted = json!({
        "id": 1, "title": "u", "description": null, "status": "pending", "userId": null, "categoryId": null,
        "dueAt": null, "version": 2, "createdAt": before["createdAt"], "updatedAt": task["updatedAt"],
        "completedAt": null,
    });
    assert_eq!(task, wanted);
    assert_eq!(api.get("/tasks/1").await.expect(200), wanted);
    assert_eq!(
        api.put("/tasks/1", json!({ "status": "pending" })).await.code(400),
        "validation_failed"
    );
    assert_eq!(api.put("/tasks/2", json!({ "title": "u" })).await.code(404), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_counts_changes_and_completed_at_follows_the_status() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    let patch = async |body: Value| api.patch("/tasks/1", body).await.expect(200);

    let done = patch(json!({ "status": "completed" })).await;
    assert_eq!((&done["version"], &done["completedAt"]), (&json!(2), &done["updatedAt"]));
    let same = patch(json!({ "status": "completed", "title": "t" })).await;
    assert_eq!(same, done, "nothing changed, so nothing is new");
    assert_eq!(patch(json!({})).await, done);
    let renamed = patch(json!({ "title": "u" })).await;
    assert_eq!((&renamed["version"], &renamed["completedAt"]), (&json!(3), &done["completedAt"]));
    let reopened = patch(json!({ "status": "pending" })).await;
    assert_eq!((&reopened["version"], &reopened["completedAt"]), (&json!(4), &Value::Null));
    let finished =
        api.post("/tasks", json!({ "title": "t", "status": "completed" })).await.expect(201);
    assert_eq!(finished["completedAt"], finished["createdAt"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_deleted_task_is_gone() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    let answer = api.delete("/tasks/1").await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(api.get("/tasks/1").await.code(404), "not_found");
    assert_eq!(api.delete("/tasks/1").await.code(404), "not_found");
    assert_eq!(api.patch("/tasks/1", json!({})).await.code(404), "not_found");
    assert_eq!(api.get("/tasks/1/activity").await.code(404), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn writers_at_one_task_lose_no_change_of_each_other() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    one.api().task("t", None).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..24 {
        let api = if number % 2 == 0 { one.api() } else { two.api() };
        writers.spawn(async move {
            let body = json!({ "title": format!("by {number}") });
            api.patch("/tasks/1", body).await.expect(200)["version"].as_i64().unwrap()
        });
    }
    let versions: BTreeSet<i64> = writers.join_all().await.into_iter().collect();
    assert_eq!(versions, (2..=25).collect());
    let db = world.db().await;
    assert_eq!(db.number("SELECT count(DISTINCT task_version) FROM events").await, 25);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn tasks_that_are_written_together_have_each_their_own_answer() {
    const GOOD: usize = 60;
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    // Nothing of a batch gets past this until all that comes meanwhile is waiting.
    let (holder, db) = (world.db().await, world.db().await);
    holder.run("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await;
    let mut requests = tokio::task::JoinSet::new();
    let post = |body: Value| {
        let api = api.clone();
        async move {
            let title = body["title"].clone();
            (title, api.post("/tasks", body).await)
        }
    };
    for number in 0..GOOD {
        requests.spawn(post(json!({ "title": format!("good {number}"), "userId": 1 })));
        requests.spawn(post(json!({ "title": "no such user", "userId": 9_999 })));
        requests.spawn(post(json!({ "title": "no such category", "categoryId": 9_999 })));
    }
    let waiting =
        "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("a batch waits", || async { (db.count(waiting).await == 1).then_some(()) }).await;
    holder.run("COMMIT").await;
    while let Some(answered) = requests.join_next().await {
        let (title, answer) = answered.unwrap();
        if title.as_str().unwrap().starts_with("good") {
            let task = answer.expect(201);
            assert_eq!(task["title"], title);
            assert_eq!(api.get(&format!("/tasks/{}", task["id"])).await.expect(200), task);
            let payload = format!(
                "SELECT payload->>'title' AS title FROM events WHERE task_id = {}",
                task["id"]
            );
            assert_eq!(db.rows(&payload).await, [json!({ "title": title })]);
        } else {
            let faults = answer.expect(400)["errors"].clone();
            assert_eq!(faults.as_array().unwrap().len(), 1, "{faults}");
        }
    }
    assert_eq!(db.count("tasks").await, GOOD as i64);
    assert_eq!(db.count("events").await, GOOD as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_says_what_it_cleared_since_it_was_not_there() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let whole = json!({ "title": "t", "description": "d", "status": "completed", "userId": 1, "dueAt": "2030-01-31T12:00:00Z" });
    api.post("/tasks", whole.clone()).await.expect(201);
    let put = api.put("/tasks/1", json!({ "title": "X" })).await;
    assert_eq!(put.header("taskd-cleared"), "description, status, userId, dueAt");
    let task = put.expect(200);
    assert_eq!(
        (&task["description"], &task["status"], &task["userId"]),
        (&json!(null), &json!("pending"), &json!(null))
    );
    // What had nothing lost nothing, and what is null was meant to be.
    for body in [
        json!({ "title": "Y" }),
        whole,
        json!({ "title": "Z", "description": null, "status": "pending", "userId": null, "categoryId": null, "dueAt": null }),
    ] {
        let put = api.put("/tasks/1", body.clone()).await;
        assert_eq!((put.status, put.header("taskd-cleared")), (200, ""), "{body}");
    }
    assert_eq!(api.patch("/tasks/1", json!({ "title": "t" })).await.header("taskd-cleared"), "");
    let document = api.get("/openapi.json").await.expect(200);
    let described = document["paths"]["/tasks/{id}"]["put"]["description"].as_str().unwrap();
    assert!(described.contains("Taskd-Cleared") && described.contains("PATCH"), "{described}");
}
