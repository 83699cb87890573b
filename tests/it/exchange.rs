//! The exchange where events are published for others.

use amqprs::{FieldTable, FieldValue};
use serde_json::{Value, json};
use taskd_testing::{Amqp, Private, Process, Raw, World, eventually};

/// A queue of somebody else, which takes these events.
async fn foreign(world: &World, name: &str, key: &str, arguments: FieldTable) -> String {
    let queue = format!("{}.{name}", world.name);
    world.expect_queue([queue.clone()]);
    let amqp = world.amqp().await;
    amqp.declare(&queue, arguments).await;
    amqp.bind(&queue, &world.name, key).await;
    queue
}

fn header(raw: &Raw, name: &str) -> String {
    let headers = raw.properties.headers().unwrap();
    match headers.get(&name.try_into().unwrap()) {
        Some(FieldValue::S(text)) => text.as_ref().clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// An API and a worker that publish to the exchange, which is called like the test.
async fn start(world: &World) -> (Process, Process) {
    let exchange = [("EVENTS_EXCHANGE", &*world.name)];
    let serve = world.serve_with(&exchange).await;
    (serve, world.work("w", &exchange).await)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn others_get_each_event_they_have_bound_for_as_in_the_queue_and_as_a_cloud_event() {
    let world = World::new().await;
    let (serve, _work) = start(&world).await;
    let all = foreign(&world, "all", "task.*", FieldTable::new()).await;
    let created = foreign(&world, "created", "task.created", FieldTable::new()).await;
    let api = serve.api();
    let task = api.task("For others", Some(1)).await["id"].as_i64().unwrap();
    api.patch(&format!("/tasks/{task}"), json!({ "status": "completed" })).await.expect(200);
    api.delete(&format!("/tasks/{task}")).await.expect(204);

    let amqp = world.amqp().await;
    let mut got = amqp.take_all(&all, 3).await;
    got.sort_by_key(|raw| header(raw, "cloudEvents_sequence"));
    let types: Vec<_> = got.iter().map(|raw| raw.message_type.clone().unwrap()).collect();
    assert_eq!(types, ["TASK_CREATED", "TASK_UPDATED", "TASK_DELETED"]);
    for (version, raw) in (1..).zip(&got) {
        let body = raw.json();
        let id = body["metadata"]["eventId"].as_str().unwrap();
        assert_eq!(raw.message_id.as_deref(), Some(id));
        for (name, value) in [
            ("specversion", "1.0".to_owned()),
            ("id", id.to_owned()),
            ("source", "taskd".to_owned()),
            ("type", raw.message_type.clone().unwrap()),
            ("subject", format!("task/{task}")),
            ("partitionkey", format!("task/{task}")),
            ("sequence", format!("{version:019}")),
            ("dataschema", format!("/schemas/{}", raw.message_type.as_ref().unwrap())),
        ] {
            assert_eq!(header(raw, &format!("cloudEvents_{name}")), value, "{name}");
        }
        let event = api.get(&format!("/events/{id}")).await.expect(200);
        assert_eq!(
            (&body["payload"], &body["metadata"]["actor"]),
            (&event["payload"], &event["actor"])
        );
        // What is for taskd's own workers stays there.
        let headers = raw.properties.headers().unwrap();
        let own = headers.as_ref().keys().find(|name| name.as_ref().starts_with("taskd-"));
        assert_eq!(own, None);
    }
    assert_eq!(amqp.take_all(&created, 1).await[0].message_id, got[0].message_id);
    // Each effect of all three is done, so nothing comes any more.
    eventually("all are done", || async {
        let done = api.get("/events?state=done").await.expect(200);
        (done["data"].as_array().unwrap().len() == 3).then_some(())
    })
    .await;
    for queue in [&all, &created] {
        assert_eq!(amqp.count(queue).await, Some(0), "{queue} has got one twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_full_queue_of_others_costs_retries_of_that_effect_and_nothing_else() {
    let world = World::new().await;
    let exchange = [("EVENTS_EXCHANGE", &*world.name), ("EFFECT_BREAKER", "off")];
    let serve = world.serve_with(&exchange).await;
    let mut full = FieldTable::new();
    full.insert("x-max-length".try_into().unwrap(), FieldValue::l(1));
    full.insert("x-overflow".try_into().unwrap(), "reject-publish".to_owned().into());
    let full = foreign(&world, "full", "#", full).await;
    let amqp = world.amqp().await;
    amqp.publish(&full, Raw::default()).await;
    let _work = world.work("w", &exchange).await;
    let api = serve.api();
    for title in ["one", "two"] {
        api.task(title, Some(1)).await;
    }
    let letters = api.letters(2).await;
    for letter in &letters {
        let error = letter["error"].as_str().unwrap();
        assert!(error.contains("exchange") && error.contains("refused the message"), "{letter}");
        let event = api.get(&format!("/events/{}", letter["eventId"].as_str().unwrap())).await;
        let event = event.expect(200);
        for effect in event["effects"].as_array().unwrap() {
            let is_done = effect["state"] == "done";
            assert_eq!(is_done, effect["effect"] != "exchange", "{event}");
        }
    }
    // Its owner makes room, and what was missed comes by a replay.
    amqp.take_all(&full, 1).await;
    for letter in &letters {
        let order = json!({ "ids": [letter["id"]] });
        api.post("/dead-letters/replays", order).await.expect(201);
        let got = amqp.take_all(&full, 1).await;
        assert_eq!(got[0].message_id.as_deref(), letter["eventId"].as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_exchange_that_is_gone_is_named_and_nothing_is_lost() {
    let world = World::new().await;
    let (serve, _work) = start(&world).await;
    let amqp = world.amqp().await;
    amqp.delete_exchange(&world.name).await;
    let api = serve.api();
    api.task("t", None).await;
    let letter = eventually("it is dead", || async {
        let page = api.get("/dead-letters").await.expect(200);
        page["data"][0]["id"].is_string().then(|| page["data"][0].clone())
    })
    .await;
    let error = letter["error"].as_str().unwrap();
    assert!(error.contains(&world.name) && error.contains("topology declare"), "{error}");

    let exchange = [("EVENTS_EXCHANGE", &*world.name)];
    let checked = world.run_with(&["topology", "check", "--json"], &exchange).await.exited(1);
    let missing = &checked.json()[0];
    assert_eq!((&missing["exchange"], &missing["drift"]), (&json!(world.name), &json!(true)));
    let declared = world.run_with(&["topology", "declare"], &exchange).await.succeeded();
    assert!(declared.stdout.contains(&format!("the exchange {}", world.name)), "{declared:?}");
    let queue = foreign(&world, "late", "#", FieldTable::new()).await;
    api.post("/dead-letters/replays", json!({ "ids": [letter["id"]] })).await.expect(201);
    let got = amqp.take_all(&queue, 1).await;
    assert_eq!(got[0].message_id.as_deref(), letter["eventId"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_event_that_waits_for_the_exchange_is_done_without_once_that_is_off() {
    let world = World::new().await;
    let exchange = [("EVENTS_EXCHANGE", &*world.name)];
    let serve = world.serve_with(&exchange).await;
    let api = serve.api();
    api.post("/effects/exchange/pause", json!({})).await.expect(200);
    let work = world.work("w", &exchange).await;
    api.task("t", None).await;
    let parked = eventually("it is parked", || async {
        let page = api.get("/events?state=parked").await.expect(200);
        page["data"][0]["eventId"].as_str().map(str::to_owned)
    })
    .await;
    work.signal("TERM");
    work.exit().await;
    let _without = world.work("without", &[]).await;
    api.post("/effects/exchange/resume", json!({})).await.expect(200);
    let event = eventually("it is done", || async {
        let event = api.get(&format!("/events/{parked}")).await.expect(200);
        (event["state"] == "done").then_some(event)
    })
    .await;
    let effects = event["effects"].as_array().unwrap();
    let skipped = effects.iter().find(|effect| effect["effect"] == "exchange").unwrap();
    assert_eq!(skipped["state"], "skipped", "{event}");
    // An event that is taken without the exchange knows nothing of it.
    api.task("u", None).await;
    let event = eventually("the next is done", || async {
        let page = api.get("/events?state=done&limit=1").await.expect(200);
        let id = page["data"][0]["eventId"].as_str().filter(|id| *id != parked)?.to_owned();
        Some(api.get(&format!("/events/{id}")).await.expect(200))
    })
    .await;
    let effects = event["effects"].as_array().unwrap();
    assert!(effects.iter().all(|effect| effect["effect"] != "exchange"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_exchange_of_another_type_is_drift_and_no_role_starts_with_it() {
    let world = World::new().await;
    let exchange = [("EVENTS_EXCHANGE", &*world.name)];
    world.declare().await;
    world.amqp().await.declare_exchange(&world.name, "fanout").await;
    let checked = world.run_with(&["topology", "check"], &exchange).await.exited(1);
    for part in ["DRIFT", &world.name, "topic", "fanout"] {
        assert!(checked.stdout.contains(part), "{part} is not in {}", checked.stdout);
    }
    for command in [&["topology", "declare"][..], &["serve"], &["work"]] {
        let refused = world.run_with(command, &exchange).await.exited(1);
        assert!(refused.stderr.contains(&format!("exchange {}", world.name)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_is_shown_and_needs_rabbitmq() {
    let world = World::alone();
    let exchange = [("EVENTS_EXCHANGE", "others")];
    let shown = world.run_with(&["topology", "show", "--json"], &exchange).await.succeeded().json();
    assert_eq!(shown["exchange"], json!({ "name": "others", "type": "topic" }));
    let table = world.run_with(&["topology", "show"], &exchange).await.succeeded().stdout;
    assert!(table.contains("EXCHANGE  others"), "{table}");
    let without = world.run(&["topology", "show", "--json"]).await.succeeded().json();
    assert_eq!(without.get("exchange"), None);
    for role in [&["up"][..], &["topology", "check"]] {
        let refused = world.run_with(role, &exchange).await.exited(2);
        assert!(refused.stderr.starts_with("taskd: EVENTS_EXCHANGE: needs"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_bound_queue_without_a_limit_is_named_with_the_command_that_gives_it_one() {
    let private = Private::start_managed();
    let mut world = World::alone();
    let [database, rabbitmq, _] = private.environment();
    for (name, value) in [database, rabbitmq.clone()] {
        world.set(name, &value);
    }
    let management = private.management();
    world.set("EVENTS_EXCHANGE", &world.name.clone());
    world.set("RABBITMQ_MANAGEMENT_URL", &management);
    world.run(&["topology", "declare"]).await.succeeded();
    let amqp = Amqp::connect_to(&rabbitmq.1).await;
    let mut limited = FieldTable::new();
    limited.insert("x-max-length".try_into().unwrap(), FieldValue::l(1000));
    for (queue, arguments) in [("limited", limited), ("no limit", FieldTable::new())] {
        amqp.declare(queue, arguments).await;
    }
    // One is bound by way of another exchange.
    amqp.declare_exchange("between", "fanout").await;
    amqp.bind_exchange("between", &world.name, "#").await;
    amqp.bind("no limit", "between", "").await;
    amqp.bind("limited", &world.name, "#").await;

    let checked = world.run(&["topology", "check", "--json"]).await.succeeded().json();
    assert_eq!(checked.as_array().unwrap().len(), 1, "{checked}");
    assert_eq!((&checked[0]["queue"], &checked[0]["drift"]), (&json!("no limit"), &json!(false)));
    assert!(checked[0]["problem"].as_str().unwrap().contains("disk"), "{checked}");
    let mend = mend_of(&world, "no limit").await;
    assert!(mend.contains("set_policy") && mend.contains("'^no limit$'"), "{mend}");
    let policy = mend.split('\'').find(|part| part.starts_with('{')).unwrap();
    private.set_policy("limit", "^no limit$", policy);
    eventually("the policy is in force", || async {
        let checked = world.run(&["topology", "check", "--json"]).await.succeeded().json();
        (checked == json!([])).then_some(())
    })
    .await;

    // Where nobody can look, that is said, and no more.
    world.set("RABBITMQ_MANAGEMENT_URL", "http://127.0.0.1:1");
    let checked = world.run(&["topology", "check", "--json"]).await.succeeded().json();
    assert_eq!(checked[0]["exchange"], json!(world.name));
    let problem = checked[0]["problem"].as_str().unwrap();
    assert!(problem.contains("RABBITMQ_MANAGEMENT_URL"), "{problem}");
}

/// What doctor says to do about this queue.
async fn mend_of(world: &World, queue: &str) -> String {
    let told = world.run(&["doctor", "--json"]).await.json();
    let checks = told["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["about"] == queue);
    found
        .and_then(|check| check["mend"].as_str())
        .map(str::to_owned)
        .unwrap_or_else(|| panic!("nothing about {queue}: {}", Value::from(checks.clone())))
}
