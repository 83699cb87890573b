//! A database that moves: to another server behind the same address, or to another host of the URL.

use serde_json::json;
use tokio::net::TcpListener;

use taskd_testing::{Db, Private, Process, Proxy, World, eventually, postgres_url};

/// Waits until a write is answered, and then writes and reads this often without an exception.
async fn serves_again(serve: &Process) {
    let api = serve.api();
    eventually("a write is answered", || async {
        (api.post("/tasks", json!({ "title": "t" })).await.status == 201).then_some(())
    })
    .await;
    for _ in 0..30 {
        let task = api.task("t", None).await;
        assert_eq!(api.get(&format!("/tasks/{}", task["id"])).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_old_primary_that_can_only_be_read_is_left() {
    // The old primary is a server of its own, the new one has the world's database of the same name.
    let world = World::new().await;
    let old = Private::start();
    let [old_port, ..] = old.ports();
    let at_old = |name: &str| format!("postgres://postgres@127.0.0.1:{old_port}/{name}");
    Db::connect(&at_old("postgres")).await.run(&format!("CREATE DATABASE {}", world.name)).await;
    let new_port = url::Url::parse(&postgres_url()).unwrap().port().unwrap_or(5432);
    let proxy = Proxy::start(old_port).await;
    let through = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), world.name);
    world.run_with(&["migrate", "--example"], &[("DATABASE_URL", &through)]).await.succeeded();
    let serve = world.serve_with(&[("DATABASE_URL", &through)]).await;
    serve.api().task("old", None).await;
    let old_db = Db::connect(&at_old(&world.name)).await;

    old_db.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
    old_db.run("SELECT pg_reload_conf()").await;
    let api = serve.api();
    eventually("readiness says that it can only be read", || async {
        let ready = api.get("/readyz").await;
        (ready.status == 503).then_some(())
    })
    .await;
    proxy.lead_to(new_port);
    serves_again(&serve).await;
    let kept = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskd'";
    eventually("no connection to the old one is left", || async {
        (old_db.number(kept).await == 0).then_some(())
    })
    .await;
    assert_eq!(old_db.count("tasks").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn hosts_that_refuse_or_are_silent_are_passed_over() {
    let world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let (credentials, place) = world.database_url().rsplit_once('@').unwrap();
    let url = format!("{credentials}@127.0.0.1:1,{silent},{place}?target_session_attrs=read-write");
    world.run_with(&["migrate", "--status"], &[("DATABASE_URL", &url)]).await.succeeded();
    let serve = world.serve_with(&[("DATABASE_URL", &url)]).await;
    serves_again(&serve).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_server_that_can_only_be_read_is_used_where_the_url_permits_it() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", world.name)).await;
    let serve = world.serve().await;
    assert_eq!(serve.api().get("/tasks").await.status, 503);
    let ready = serve.api().get("/readyz").await.expect(503);
    let error = &ready["dependencies"]["database"]["error"];
    assert_eq!(error, "it can only be read", "{ready}");
    let any = format!("{}?target_session_attrs=any", world.database_url());
    let serve = world.serve_with(&[("DATABASE_URL", &any)]).await;
    assert_eq!(serve.api().get("/tasks").await.status, 200);
    let ready = serve.api().get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("degraded")));
}
