//! The description of events: what it says must be what is published.

use crate::snapshots::assert_snapshot;
use taskd_testing::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_as_it_was_and_has_the_names_of_this_installation() {
    let world = World::cut_off();
    let exchange = [("EVENTS_EXCHANGE", &*world.name)];
    let serve = world.serve_with(&exchange).await;
    let answer = serve.api().get("/asyncapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.expect(200);
    let shown = world.run_with(&["topology", "show", "--json"], &exchange).await.succeeded().json();
    let mut names: Vec<&str> =
        shown["queues"].as_array().unwrap().iter().map(|q| q["name"].as_str().unwrap()).collect();
    names.extend([&*world.name, "changes", "webhooks"]);
    names.sort_unstable();
    let channels: Vec<&String> = document["channels"].as_object().unwrap().keys().collect();
    assert_eq!(channels, names);
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    assert_snapshot("asyncapi.json", &text.replace(&world.name, "taskd_test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_schemas_are_those_that_are_served_and_the_page_shows_its_examples() {
    let world = World::cut_off();
    let serve = world.serve_with(&[("EVENTS_EXCHANGE", "others")]).await;
    let api = serve.api();
    let document = api.get("/asyncapi.json").await.expect(200);
    let page = api.get("/docs/events").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = page.text;
    assert!(!page.contains("<script"), "{page}");
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        let event_type = message["name"].as_str().unwrap();
        if name.ends_with(".change") {
            assert!(page.contains(&format!("id=\"{name}\"")), "{name} is not in {page}");
            continue;
        }
        let schema = api.get(&format!("/schemas/{event_type}")).await.expect(200);
        assert_eq!(message["payload"]["schema"], schema, "{name}");
        for part in [format!("id=\"{name}\""), format!("/schemas/{event_type}")] {
            assert!(page.contains(&part), "{part} is not in {page}");
        }
    }
    for key in ["task.created", "task.updated", "task.deleted"] {
        assert!(page.contains(&format!("<code>{key}</code>")), "{key}");
    }
    for (method, path) in [("get", "/asyncapi.json"), ("get", "/docs/events")] {
        let openapi = api.get("/openapi.json").await.expect(200);
        assert!(openapi["paths"][path][method].is_object(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rabbitmq_there_is_nothing_to_read_from() {
    let world = World::embedded();
    let serve = world.serve().await;
    let document = serve.api().get("/asyncapi.json").await.expect(200);
    let channels: Vec<&String> = document["channels"].as_object().unwrap().keys().collect();
    assert_eq!(channels, ["changes", "webhooks"]);
    let page = serve.api().get("/docs/events").await.text;
    assert!(page.contains("inside the database"), "{page}");
}
