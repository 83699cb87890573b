//! Databases that share a Redis and a prefix: none ever reads what is another's.

use taskd::cache::BAR;
use taskd_testing::{Db, World, postgres_url, redis_contents};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn two_databases_on_one_redis_share_neither_entries_nor_counts() {
    let (one, two) = (World::new().await, World::new().await);
    let shared = [("CACHE_PREFIX", one.prefix.as_str()), ("RATE_LIMIT_READS", "4/1h")];
    let (production, staging) = (one.serve_with(&shared).await, two.serve_with(&shared).await);
    production.api().task("PROD secret", None).await;
    staging.api().task("staging", None).await;
    // A cache that is new has a bar on everything for so long.
    tokio::time::sleep(BAR).await;
    for (serve, title) in [(&production, "PROD secret"), (&staging, "staging")] {
        for path in ["/tasks/1", "/tasks", "/tasks/1", "/tasks"] {
            let text = serve.api().get(path).await.expect(200).to_string();
            assert!(text.contains(title), "{path}: {text}");
        }
        assert_eq!(serve.api().get("/tasks/1").await.status, 429);
    }
    assert_keys_name_their_database(&one, &[&one, &two]).await;
}

async fn assert_keys_name_their_database(prefix_of: &World, worlds: &[&World]) {
    let mut identities = Vec::new();
    for world in worlds {
        let identity = world
            .db()
            .await
            .rows(
                "SELECT encode(substr(sha256(convert_to(concat_ws(':', id, system_identifier, oid),
                     'UTF8')), 1, 8), 'hex') AS identity
                 FROM installation, pg_control_system(), pg_database
                 WHERE datname = current_database()",
            )
            .await;
        identities.push(identity[0]["identity"].as_str().unwrap().to_owned());
    }
    assert_ne!(identities[0], identities[1]);
    let contents = redis_contents(&prefix_of.prefix).await;
    assert!(contents.contains(":rate:") && contents.contains(":entry:"), "{contents}");
    for line in contents.lines() {
        assert!(identities.iter().any(|identity| line.contains(identity)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_database_that_is_made_anew_and_a_copy_of_one_start_with_nothing_cached() {
    let world = World::new().await;
    let admin = Db::connect(&postgres_url()).await;
    let serve = world.serve().await;
    serve.api().task("of the predecessor", None).await;
    tokio::time::sleep(BAR).await;
    serve.api().get("/tasks/1").await.expect(200);
    serve.signal("TERM");
    serve.exit().await;

    // A copy has the same installation, and yet is another database.
    let (original, copy) = (&world.name, format!("{}_copy", world.name));
    admin.run(&format!("ALTER DATABASE {original} RENAME TO {copy}")).await;
    admin.run(&format!("CREATE DATABASE {original} TEMPLATE {copy}")).await;
    admin.run(&format!("DROP DATABASE {copy}")).await;
    let db = world.db().await;
    db.run("UPDATE tasks SET title = 'of the copy', version = version + 1").await;
    let serve = world.serve().await;
    assert_eq!(serve.api().get("/tasks/1").await.expect(200)["title"], "of the copy");
    serve.signal("TERM");
    serve.exit().await;

    admin.run(&format!("DROP DATABASE {original} WITH (FORCE)")).await;
    admin.run(&format!("CREATE DATABASE {original}")).await;
    world.run(&["migrate"]).await.succeeded();
    let serve = world.serve().await;
    assert_eq!(serve.api().get("/tasks/1").await.status, 404);
}
