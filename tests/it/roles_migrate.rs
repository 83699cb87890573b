//! `taskd migrate`, and the migrations themselves.

use serde_json::{Value, json};
use taskd::cache::BAR;
use taskd::ground::tls::Tls;
use taskd::store::PostgresUrl;
use taskd::store::migrations::{Migrator, status};

use taskd_testing::{Db, World, postgres_url};

pub async fn migrator_of(world: &World) -> Migrator {
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    Migrator::connect(&url).await.expect("the test database")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn ten_processes_that_migrate_at_once_migrate_once() {
    let world = World::unmigrated().await;
    let runs = (0..10).map(|_| world.run(&["migrate"]));
    let runs = futures_util::future::join_all(runs).await;
    let mut applied: Vec<String> = Vec::new();
    for run in runs {
        let run = run.succeeded();
        applied.extend(
            run.stdout.lines().filter(|line| line.starts_with("applied")).map(str::to_owned),
        );
    }
    let count = applied.len();
    applied.sort();
    applied.dedup();
    assert!(count >= 4 && applied.len() == count, "each once: {applied:?}");
    let db = world.db().await;
    assert_eq!(db.count("__diesel_schema_migrations").await as usize, count);
    assert_eq!(db.count("users").await, 0, "nobody asked for one");
    let again = world.run(&["migrate"]).await.succeeded();
    assert!(again.stdout.contains("up to date"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_status_says_what_is_pending_and_changes_nothing() {
    let world = World::unmigrated().await;
    let lines = async || {
        let status = world.run(&["migrate", "--status"]).await.succeeded();
        status.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = lines().await;
    assert!(
        before.len() >= 4 && before.iter().all(|line| line.starts_with("pending  ")),
        "{before:?}"
    );
    assert_eq!(lines().await, before);
    world.run(&["migrate"]).await.succeeded();
    let after: Vec<String> =
        before.iter().map(|line| line.replacen("pending", "applied", 1)).collect();
    assert_eq!(lines().await, after);
}

/// Everything a migration may make, by name and definition.
async fn schema(db: &Db) -> Vec<Value> {
    let mut all = Vec::new();
    for query in [
        "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, identity_generation
         FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
        "SELECT conrelid::regclass::text AS table, conname, pg_get_constraintdef(oid) AS definition
         FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT relname, relkind::text, reloptions FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v', 'm') ORDER BY 1",
        "SELECT extname FROM pg_extension ORDER BY 1",
        "SELECT tgname, pg_get_triggerdef(oid) AS definition FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    ] {
        all.extend(db.rows(query).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_migration_goes_down_and_up_again_to_the_same_schema() {
    let world = World::unmigrated().await;
    let db = world.db().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let names: Vec<String> =
        status(&url).await.unwrap().into_iter().map(|status| status.name).collect();
    migrator_of(&world).await.up().unwrap();
    let whole = schema(&db).await;
    // One step back and forth at a time, from the newest on, then all the way.
    for steps in 1..=names.len() {
        let mut migrator = migrator_of(&world).await;
        for _ in 0..steps {
            migrator.down().unwrap();
        }
        drop(migrator);
        let pending = status(&url).await.unwrap().iter().filter(|one| !one.applied).count();
        assert_eq!(pending, steps);
        if steps == names.len() {
            let left = db.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").await;
            let left: Vec<&str> =
                left.iter().map(|row| row["tablename"].as_str().unwrap()).collect();
            assert_eq!(left, ["__diesel_schema_migrations"], "nothing is left at the bottom");
        }
        assert_eq!(migrator_of(&world).await.up().unwrap().len(), steps);
        let again = schema(&db).await;
        assert_eq!(again, whole, "{steps} steps down and up");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_role_starts_on_a_schema_that_is_behind() {
    let world = World::unmigrated().await;
    for role in ["serve", "work"] {
        let refused = world.run(&[role]).await.exited(1);
        assert!(refused.stderr.contains("taskd migrate"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn roles_that_may_not_create_anything_start_and_look() {
    let world = World::new().await;
    let db = world.db().await;
    let user = format!("{}_plain", world.name);
    db.run(&format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         CREATE ROLE {user} LOGIN PASSWORD 'p';
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}"
    ))
    .await;
    let (_, place) = world.database_url().rsplit_once('@').unwrap();
    let url = format!("postgres://{user}:p@{place}");
    let as_user = [("DATABASE_URL", url.as_str())];
    let status = world.run_with(&["migrate", "--status"], &as_user).await.succeeded();
    assert!(!status.stdout.contains("pending"), "{status:?}");
    world.run_with(&["token", "create", "--user", "1"], &as_user).await.succeeded();
    let (serve, work) = (world.serve_with(&as_user).await, world.work("w", &as_user).await);
    serve.api().task("t", Some(1)).await;
    work.log("it is processed", |line| line["outcome"] == "processed").await;
    world.run_with(&["purge", "--once"], &as_user).await.succeeded();
    let migrated = world.run_with(&["migrate"], &as_user).await.succeeded();
    assert_eq!(migrated.stdout, "the schema is up to date\n");
    let mut up = world.start(&["up"], &as_user);
    up.wait_for_address("up").await;
    assert_eq!(up.api().get("/readyz").await.status, 200);
    drop((serve, work, up));
    db.run(&format!("DROP OWNED BY {user}")).await;
    Db::connect(&postgres_url()).await.run(&format!("DROP ROLE {user}")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_database_that_is_not_there_is_said_with_its_variable() {
    let world = World::new().await;
    let url = format!("{}_absent", world.database_url());
    for role in [&["serve"] as &[&str], &["work"], &["migrate", "--status"], &["migrate"]] {
        let refused = world.run_with(role, &[("DATABASE_URL", &url)]).await.exited(1);
        assert!(refused.stderr.contains("_absent"), "{refused:?}");
    }
}

/// The version before and this one end generations that the other doesn't read, so neither may use
/// the cache while both run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_upgrade_from_before_the_bars_suspends_the_cache_and_a_new_database_does_not() {
    const SUSPENDED: &str = "SELECT (CASE WHEN suspended_until > now() + interval '9 minutes'
        THEN 1 ELSE 0 END)::bigint FROM cache_guard";
    const EPOCH: &str = "SELECT epoch FROM cache_guard";
    let world = World::new().await;
    let db = world.db().await;
    assert_eq!((db.number(SUSPENDED).await, db.number(EPOCH).await), (0, 1));
    let before = world.serve().await;
    before.api().task("t", None).await;
    let names = world.run(&["migrate", "--status"]).await.succeeded().stdout;
    let later = names.lines().skip_while(|line| !line.contains("cache_bars")).count();
    let mut migrator = migrator_of(&world).await;
    for _ in 0..later {
        migrator.down().unwrap();
    }
    assert_eq!(db.number(SUSPENDED).await, 1, "on the way back too");
    db.run("UPDATE cache_guard SET suspended_until = '-infinity'").await;
    let epoch = db.number(EPOCH).await;
    migrator.up().unwrap();
    drop(migrator);
    assert_eq!((db.number(SUSPENDED).await, db.number(EPOCH).await), (1, epoch + 1));
    // Neither the process that was there nor a new one reads from the cache, and both serve.
    let after = world.serve().await;
    tokio::time::sleep(BAR).await;
    for (serve, title) in [(&before, "u"), (&after, "v"), (&before, "w")] {
        serve.api().patch("/tasks/1", json!({ "title": title })).await.expect(200);
        for reader in [&before, &after] {
            for _ in 0..2 {
                assert_eq!(reader.api().get("/tasks/1").await.expect(200)["title"], title);
            }
        }
    }
    for serve in [&before, &after] {
        let hits = serve.api().metric("taskd_cache_reads_total", "outcome=\"hit\"").await;
        assert_eq!(hits, 0.0);
    }
}
