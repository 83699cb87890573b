//! Messages that are no events.

use amqprs::FieldValue;
use serde_json::{Value, json};

use taskd_testing::{Raw, World, eventually};

/// Fifty and more ways to be no event; each differs from a good one in one respect.
fn malformed(good: &Raw) -> Vec<(String, Raw)> {
    let mut kinds: Vec<(String, Raw)> = Vec::new();
    let with_body = |body: Vec<u8>| Raw { body, message_type: None, ..good.clone() };
    for (what, body) in [
        ("nothing", Vec::new()),
        ("not JSON", b"hello".to_vec()),
        ("half of JSON", good.body[..good.body.len() / 2].to_vec()),
        ("two documents", [good.body.clone(), good.body.clone()].concat()),
        ("not UTF-8", b"\xff\xfe\x00\x01".to_vec()),
        ("a NUL byte", b"\0".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a text", b"\"TASK_CREATED\"".to_vec()),
        ("a number", b"7".to_vec()),
        ("null", b"null".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("ten thousand brackets", b"[".repeat(10_000)),
        ("a megabyte of spaces", b" ".repeat(1024 * 1024)),
    ] {
        kinds.push((what.to_owned(), with_body(body)));
    }
    let mut large = good.json();
    large["payload"]["description"] = "x".repeat(1024 * 1024).into();
    kinds.push(("a megabyte of event".into(), with_body(large.to_string().into_bytes())));

    let mut edited = |what: String, edit: &dyn Fn(&mut Value)| {
        let mut body = good.json();
        edit(&mut body);
        kinds.push((what, with_body(body.to_string().into_bytes())));
    };
    for part in ["payload", "metadata"] {
        for member in good.json()[part].as_object().unwrap().keys() {
            // The version before wrote neither.
            if !["actor", "causationId"].contains(&member.as_str()) {
                edited(format!("no {member}"), &|v| {
                    drop(v[part].as_object_mut().unwrap().remove(member))
                });
            }
            edited(format!("a list for {member}"), &|v| v[part][member] = json!([]));
        }
        edited(format!("no {part}"), &|v| drop(v.as_object_mut().unwrap().remove(part)));
        edited(format!("nested {part}"), &|v| v[part] = json!({ part: v[part] }));
        edited(format!("more in {part}"), &|v| v[part]["extra"] = json!(1));
    }
    edited("no type".into(), &|v| drop(v.as_object_mut().unwrap().remove("type")));
    edited("an unknown type".into(), &|v| v["type"] = json!("TASK_EATEN"));
    edited("a number for type".into(), &|v| v["type"] = json!(1));
    edited("another type".into(), &|v| v["type"] = json!("TASK_UPDATED"));
    edited("a later schema".into(), &|v| v["metadata"]["schemaVersion"] = json!(2));
    edited("an id that is none".into(), &|v| v["metadata"]["eventId"] = json!("7"));
    edited("a status that is none".into(), &|v| v["payload"]["status"] = json!("eaten"));
    edited("a NUL in a text".into(), &|v| v["payload"]["title"] = json!("a\u{0}"));
    edited("a NUL in a change".into(), &|v| {
        v["type"] = json!("TASK_UPDATED");
        v["payload"]["changes"] = json!({ "title": { "from": "a", "to": "\u{0}" } });
    });
    edited("a time that is none".into(), &|v| v["metadata"]["timestamp"] = json!("yesterday"));

    kinds.push((
        "no message id".into(),
        Raw { message_id: None, properties: Default::default(), ..good.clone() },
    ));
    kinds.push((
        "another message id".into(),
        Raw { message_id: Some("other".into()), ..good.clone() },
    ));
    kinds.push((
        "another type property".into(),
        Raw { message_type: Some("TASK_DELETED".into()), ..good.clone() },
    ));
    kinds
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_malformed_message_is_a_dead_letter_and_the_good_ones_between_are_processed() {
    let world = World::new().await;
    world.take_unsigned().await;
    let serve = world.serve().await;
    let api = serve.api();
    for number in 0..10 {
        api.task(&format!("good {number}"), Some(1)).await;
    }
    let amqp = world.amqp().await;
    let good = amqp.take_all(&world.queue, 10).await;
    // A model that is never published itself.
    api.task("the model", Some(1)).await;
    let kinds = malformed(&amqp.take_all(&world.queue, 1).await[0]);
    assert!(kinds.len() >= 50, "{}", kinds.len());

    let work = world.work("w", &[]).await;
    for (index, (_, message)) in kinds.iter().enumerate() {
        amqp.publish(&world.queue, message.clone()).await;
        if let Some(good) = good.get(index / 5).filter(|_| index % 5 == 0) {
            amqp.publish(&world.queue, good.clone()).await;
        }
    }
    let letters = world.dead_letters(kinds.len()).await;
    for letter in &letters {
        assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("malformed"), &json!(1)));
        assert!(!letter["error"].as_str().unwrap().is_empty(), "{letter}");
        assert_eq!(letter["history"].as_array().unwrap().len(), 1);
    }
    for (what, part) in [
        ("no message id", "no message_id"),
        ("an unknown type", "unknown event type"),
        ("not JSON", "not JSON"),
        ("a megabyte of event", "more than the"),
        ("another message id", "message_id says"),
        ("another type property", "type says"),
        ("a status that is none", "/payload/status"),
    ] {
        let told = letters.iter().any(|letter| letter["error"].as_str().unwrap().contains(part));
        assert!(told, "{what}: no letter says {part:?}");
    }
    let db = world.db().await;
    eventually("the good ones", || async { (db.count("task_activity").await == 10).then_some(()) })
        .await;

    api.task("one more", None).await;
    eventually("one more", || async { (db.count("task_activity").await == 11).then_some(()) })
        .await;
    assert_eq!(work.api().get("/healthz").await.status, 200);
    let dead = work.api().metric("taskd_deliveries_total", "outcome=\"dead\"").await;
    assert_eq!(dead as usize, kinds.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_dead_letter_keeps_body_and_headers_as_they_were() {
    let world = World::new().await;
    world.take_unsigned().await;
    let _work = world.work("w", &[]).await;
    let amqp = world.amqp().await;
    let mut headers = amqprs::FieldTable::new();
    headers.insert("tenant".try_into().unwrap(), "t1".into());
    let mut properties = amqprs::BasicProperties::default();
    properties.with_headers(headers);
    let body = b"not JSON \xff".to_vec();
    let message =
        Raw { body: body.clone(), message_id: Some("mine".into()), properties, ..Raw::default() };
    amqp.publish(&world.queue, message).await;
    let letter = &world.dead_letters(1).await[0];
    assert_eq!((&letter["eventId"], &letter["headers"]["tenant"]), (&json!("mine"), &json!("t1")));
    let kept = world.db().await.rows("SELECT encode(body, 'hex') AS hex FROM dead_letters").await;
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(kept[0]["hex"], hex);
}

/// The broker closes a connection on headers that are longer than a frame.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn headers_that_would_outgrow_a_frame_stop_no_dead_letter() {
    let world = World::new().await;
    world.take_unsigned().await;
    let _work = world.work("w", &[]).await;
    let amqp = world.amqp().await;
    // A byte of such a value arrives as one byte, and a number would be sent on as nine.
    let bytes = amqprs::ByteArray::try_from(vec![0; 24_000]).unwrap();
    let long = || FieldValue::S("x".repeat(120_000).try_into().unwrap());
    for (name, value) in [
        ("bytes", FieldValue::x(bytes)),
        ("taskd-unheard-of", long()),
        ("taskd-history", long()),
        ("taskd-dead-reason", long()),
        ("taskd-first-failed-at", long()),
    ] {
        let mut headers = amqprs::FieldTable::new();
        headers.insert(name.try_into().unwrap(), value);
        headers
            .insert("x".try_into().unwrap(), FieldValue::S("x".repeat(10_900).try_into().unwrap()));
        let mut properties = amqprs::BasicProperties::default();
        properties.with_headers(headers);
        let message = Raw { message_id: Some(name.into()), properties, ..Raw::default() };
        amqp.publish(&world.queue, message).await;
    }
    for letter in &world.dead_letters(5).await {
        assert_eq!(letter["reason"], "malformed", "{}", letter["eventId"]);
        assert_eq!(letter["headers"]["x"].as_str().unwrap().len(), 10_900);
    }
}
