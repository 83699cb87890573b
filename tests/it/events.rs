//! From a change to its message in the queue.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use taskd_testing::{Api, Proxy, Raw, World, eventually, rabbitmq_url};

/// Holds a message against the schema that the API serves for its type.
async fn check_schema(api: &Api, message: &Raw) {
    let name = message.message_type.as_deref().unwrap();
    let answer = api.get(&format!("/schemas/{name}")).await;
    assert_eq!(answer.header("content-type"), "application/schema+json");
    let schema = answer.expect(200);
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let body = message.json();
    let faults: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}: {body}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_change_becomes_one_message_with_the_task_as_answered() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let input = json!({ "title": "é \"quoted\" 𝄞", "userId": 1, "dueAt": "2030-01-31T12:00:00Z" });
    let created = api.post("/tasks", input).await.expect(201);
    let patched =
        api.patch("/tasks/1", json!({ "status": "completed", "userId": null })).await.expect(200);
    let replaced =
        api.put("/tasks/1", json!({ "title": "new", "description": "d" })).await.expect(200);
    // Changes that change nothing.
    api.put("/tasks/1", json!({ "title": "new", "description": "d" })).await.expect(200);
    api.patch("/tasks/1", json!({})).await.expect(200);
    api.patch("/tasks/1", json!({ "title": "new", "dueAt": null })).await.expect(200);
    // Refused ones.
    api.patch("/tasks/1", json!({ "title": "" })).await.expect(400);
    api.post("/tasks", json!({ "title": "t", "userId": 99 })).await.expect(400);
    api.delete("/tasks/2").await.expect(404);
    api.delete("/tasks/1").await.expect(204);

    let amqp = world.amqp().await;
    let messages = amqp.take_all(&world.queue, 4).await;
    let db = world.db().await;
    assert_eq!(db.count("events").await, 4);
    eventually("all are marked", || async {
        (db.count("events WHERE published_at IS NULL").await == 0).then_some(())
    })
    .await;
    assert!(amqp.take(&world.queue).await.is_none());

    let types = ["TASK_CREATED", "TASK_UPDATED", "TASK_UPDATED", "TASK_DELETED"];
    for (message, name) in messages.iter().zip(types) {
        check_schema(&api, message).await;
        let (body, properties) = (message.json(), &message.properties);
        assert_eq!((message.message_type.as_deref(), &body["type"]), (Some(name), &json!(name)));
        assert_eq!(message.message_id.as_deref(), body["metadata"]["eventId"].as_str());
        assert_eq!(properties.content_type().map(String::as_str), Some("application/json"));
        assert_eq!(properties.delivery_mode(), Some(2), "persistent");
        let moment = body["metadata"]["timestamp"].as_str().unwrap();
        let moment = chrono::DateTime::parse_from_rfc3339(moment).unwrap();
        assert_eq!(properties.timestamp(), Some(moment.timestamp() as u64));
        assert_eq!(body["metadata"]["source"], "taskd");
    }
    let payloads: Vec<Value> =
        messages.iter().map(|message| message.json()["payload"].clone()).collect();
    assert_eq!(
        payloads.iter().map(|p| p["version"].as_i64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(payloads[0], created);
    let with = |task: &Value, changes: Value| {
        let mut task = task.clone();
        task["changes"] = changes;
        task
    };
    let changes = json!({
        "status": { "from": "pending", "to": "completed" }, "userId": { "from": 1, "to": null },
    });
    assert_eq!(payloads[1], with(&patched, changes));
    let changes = json!({
        "title": { "from": "é \"quoted\" 𝄞", "to": "new" }, "description": { "from": null, "to": "d" },
        "status": { "from": "completed", "to": "pending" },
        "dueAt": { "from": "2030-01-31T12:00:00Z", "to": null },
    });
    assert_eq!(payloads[2], with(&replaced, changes));
    let mut deleted = replaced.clone();
    deleted["version"] = json!(4);
    deleted["updatedAt"] = payloads[3]["updatedAt"].clone();
    assert_eq!(payloads[3], deleted);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn deleting_a_user_with_three_tasks_becomes_three_updates() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let user = api.user("ada@example.com").await;
    for title in ["a", "b", "c"] {
        api.task(title, Some(user)).await;
    }
    let amqp = world.amqp().await;
    amqp.take_all(&world.queue, 3).await;
    api.delete(&format!("/users/{user}")).await.expect(204);
    let messages = amqp.take_all(&world.queue, 3).await;
    let mut tasks = BTreeSet::new();
    for message in &messages {
        check_schema(&api, message).await;
        assert_eq!(message.message_type.as_deref(), Some("TASK_UPDATED"));
        let payload = &message.json()["payload"];
        assert_eq!(payload["changes"], json!({ "userId": { "from": user, "to": null } }));
        tasks.insert(payload["id"].as_i64().unwrap());
    }
    assert_eq!(tasks, [1, 2, 3].into());
    assert_eq!(world.db().await.count("events").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_versions_of_a_task_are_published_in_order() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    for title in ["a", "b"] {
        api.task(title, None).await;
    }
    for number in 0..20 {
        for id in 1..=2 {
            api.patch(&format!("/tasks/{id}"), json!({ "title": format!("t{number}") }))
                .await
                .expect(200);
        }
    }
    let mut versions: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for message in world.amqp().await.take_all(&world.queue, 42).await {
        let payload = &message.json()["payload"];
        let of_task = versions.entry(payload["id"].as_i64().unwrap()).or_default();
        of_task.push(payload["version"].as_i64().unwrap());
    }
    let wanted: Vec<i64> = (1..=21).collect();
    assert_eq!(versions, [(1, wanted.clone()), (2, wanted)].into());
}

/// Deleting a category leaves its events in the outbox; the others are handed over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn events_that_are_handed_over_and_left_keep_the_order_of_the_versions() {
    const TASKS: usize = 40;
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    for number in 0..TASKS {
        let category = api.post("/categories", json!({ "name": format!("c{number}") })).await;
        let category = category.expect(201)["id"].clone();
        let task = api.post("/tasks", json!({ "title": "t", "categoryId": category })).await;
        let path = format!("/tasks/{}", task.expect(201)["id"]);
        api.patch(&path, json!({ "title": "u" })).await.expect(200);
        api.delete(&format!("/categories/{category}")).await.expect(204);
        api.patch(&path, json!({ "title": "v" })).await.expect(200);
    }
    let mut versions: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for message in world.amqp().await.take_all(&world.queue, TASKS * 4).await {
        let payload = message.json()["payload"].clone();
        let (id, version) = (payload["id"].as_i64(), payload["version"].as_i64());
        versions.entry(id.unwrap()).or_default().push(version.unwrap());
    }
    assert!(versions.values().all(|versions| versions == &[1, 2, 3, 4]), "{versions:?}");
}

/// More than one batch: each task has its first version in an early one and the next two in later ones.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_backlog_of_several_batches_keeps_the_versions_in_order() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
         SELECT gen_random_uuid(), task, version, 'TASK_CREATED',
                jsonb_build_object('id', task, 'version', version), now()
         FROM (SELECT n % 700 AS task, n / 700 + 1 AS version, n FROM generate_series(0, 2099) AS n) AS t
         ORDER BY n",
    )
    .await;
    let _serve = world.serve().await;
    let amqp = world.amqp().await;
    eventually("every event is published", || async {
        (amqp.count(&world.queue).await == Some(2_100)).then_some(())
    })
    .await;
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for message in amqp.take_all(&world.queue, 2_100).await {
        let payload = &message.json()["payload"];
        let (task, version) =
            (payload["id"].as_i64().unwrap(), payload["version"].as_i64().unwrap());
        let before = last.insert(task, version).unwrap_or_default();
        assert_eq!(version, before + 1, "of task {task}");
    }
    let unpublished = "events WHERE published_at IS NULL";
    eventually("all are marked", || async { (db.count(unpublished).await == 0).then_some(()) })
        .await;
    amqp.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn two_instances_publish_every_event_between_them() {
    const TASKS: usize = 60;
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..TASKS {
        let api = if number % 2 == 0 { one.api() } else { two.api() };
        writers.spawn(async move { drop(api.task(&format!("t{number}"), None).await) });
    }
    writers.join_all().await;
    let db = world.db().await;
    eventually("all are marked", || async {
        (db.count("events WHERE published_at IS NULL").await == 0).then_some(())
    })
    .await;
    let wanted: BTreeSet<String> = db
        .rows("SELECT id FROM events")
        .await
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(wanted.len(), TASKS);
    let messages = world.amqp().await.take_all(&world.queue, TASKS).await;
    let published: BTreeSet<String> =
        messages.into_iter().filter_map(|message| message.message_id).collect();
    assert_eq!(published, wanted);
    let counted = one.api().metric("taskd_events_published_total", "").await
        + two.api().metric("taskd_events_published_total", "").await;
    assert_eq!(counted as usize, TASKS);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_event_that_nobody_was_nudged_for_is_found_by_polling() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    api.task("t", None).await;
    let amqp = world.amqp().await;
    amqp.take_all(&world.queue, 1).await;
    let db = world.db().await;
    db.run(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at)
         SELECT gen_random_uuid(), task_id, task_version, type, payload, occurred_at FROM events",
    )
    .await;
    let message = amqp.take_all(&world.queue, 1).await.remove(0);
    check_schema(&api, &message).await;
    eventually("the backlog is gone", || async {
        (api.metric("taskd_events_unpublished", "").await == 0.0).then_some(())
    })
    .await;
}

/// Each is one statement with its lease in it, is not looked for, and is marked together with others.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn publishing_an_event_of_the_same_process_costs_hardly_a_statement() {
    const TASKS: i64 = 400;
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let (db, amqp) = (world.db().await, world.amqp().await);
    api.task("the first is looked for", None).await;
    amqp.take_all(&world.queue, 1).await;
    let run = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    let before = db.number(run).await;
    let started = std::time::Instant::now();
    for number in 0..TASKS {
        api.task(&format!("t{number}"), None).await;
    }
    amqp.take_all(&world.queue, TASKS as usize).await;
    eventually("all are marked", || async {
        (db.count("events WHERE published_at IS NULL").await == 0).then_some(())
    })
    .await;
    serve.signal("TERM");
    assert!(serve.exit().await.success());
    let counted = eventually("they are counted", || async {
        let more = db.number(run).await - before;
        (more >= TASKS).then_some(more)
    })
    .await;
    // There are statements that come with the time, such as marks for many events together.
    let by_time = 20 * started.elapsed().as_secs() as i64;
    assert!(counted < TASKS * 3 / 2 + by_time, "{counted} transactions for {TASKS} tasks");
}

/// What was handed over to a publisher that is gone, and had not reached the broker.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_event_whose_publisher_was_killed_is_published_by_another() {
    let world = World::new().await;
    let (broker, through_broker) = Proxy::before(&rabbitmq_url(), 5672).await;
    let one = world.serve_with(&[("RABBITMQ_URL", &through_broker)]).await;
    let (db, amqp) = (world.db().await, world.amqp().await);
    one.api().task("before", None).await;
    amqp.take_all(&world.queue, 1).await;
    broker.half_open();
    one.api().task("after", None).await;
    eventually("it is leased", || async {
        let leased = "events WHERE published_at IS NULL AND leased_until > now()";
        (db.count(leased).await == 1).then_some(())
    })
    .await;
    one.kill_9().await;
    let _two = world.serve().await;
    let message = amqp.take_all(&world.queue, 1).await.remove(0);
    assert_eq!(message.json()["payload"]["title"], "after");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_queue_that_was_deleted_is_brought_back_and_loses_no_event() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let amqp = world.amqp().await;
    amqp.delete(&world.queue).await;
    api.task("t", None).await;
    // RabbitMQ names a queue a moment before it runs, and closes the connection of who takes from it then
    // (541, noproc): that it holds the event says that it runs.
    eventually("the queue is back, with the event", || async {
        (amqp.count(&world.queue).await? == 1).then_some(())
    })
    .await;
    let message = amqp.take_all(&world.queue, 1).await.remove(0);
    assert_eq!(message.json()["payload"]["title"], "t");
}
