//! What is searched for in titles and descriptions is in its index soon after it was written.

use serde_json::json;

use taskd_testing::{Db, World, eventually};

/// Pages of entries that wait to be put into the index.
async fn waiting(db: &Db) -> i64 {
    db.number("SELECT pending_pages::bigint FROM pgstatginindex('tasks_search')").await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn new_words_are_indexed_without_a_write_that_has_to_wait() {
    let world = World::new().await;
    let db = world.db().await;
    db.run("CREATE EXTENSION pgstattuple").await;
    // What waits since nobody served is put away with what comes.
    db.run(
        "INSERT INTO tasks (title, status, version, created_at, updated_at)
         VALUES ('left behind', 'pending', 1, now(), now())",
    )
    .await;
    assert!(waiting(&db).await > 0);
    let serve = world.serve().await;
    let api = serve.api();
    let task = api.task("quite unusual", None).await;
    let indexed = || async { (waiting(&db).await == 0).then_some(()) };
    eventually("the new words are in the index", indexed).await;

    // An update of the words, and one of something else, are new entries too.
    let path = format!("/tasks/{}", task["id"]);
    api.patch(&path, json!({ "title": "unheard of", "status": "completed" })).await.expect(200);
    eventually("the other words are in the index", indexed).await;
    let found = api.get("/tasks?search=unheard").await.expect(200);
    assert_eq!(found["data"][0]["id"], task["id"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_index_that_is_somebody_elses_is_left_to_the_writes() {
    let world = World::new().await;
    let db = world.db().await;
    // It could as well belong to another user; who that is would outlive this test.
    db.run("ALTER INDEX tasks_search RENAME TO other").await;
    let serve = world.serve().await;
    let api = serve.api();
    api.task("first", None).await;
    let said = "can't flush the search index; PostgreSQL does so with later writes";
    eventually("it says so", || async { serve.text().contains(said).then_some(()) }).await;
    // And goes on.
    api.task("second", None).await;
    eventually("the second is published", || async {
        (db.count("events WHERE published_at IS NULL").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn new_words_are_indexed_while_the_broker_is_away() {
    let world = World::new().await;
    let db = world.db().await;
    db.run("CREATE EXTENSION pgstattuple").await;
    let serve = world.serve_with(&[("RABBITMQ_URL", "amqp://127.0.0.1:1")]).await;
    serve.api().task("quite unusual", None).await;
    let indexed = || async { (waiting(&db).await == 0).then_some(()) };
    eventually("the new words are in the index", indexed).await;
    assert_eq!(db.count("events WHERE published_at IS NULL").await, 1);
}
