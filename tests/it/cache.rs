//! Cached reads: used, never stale, and read from the database once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taskd::cache::BAR;

use taskd_testing::{Api, Process, World, eventually, redis_contents};

async fn reads(serve: &Process, outcome: &str) -> usize {
    serve.api().metric("taskd_cache_reads_total", &format!("outcome=\"{outcome}\"")).await as usize
}

/// A cache that is new has a bar on everything for a while. Waits until it has ended.
async fn in_use(serve: &Process) {
    eventually("the cache is in use", || async {
        serve.api().get("/tasks?limit=99").await.expect(200);
        (reads(serve, "hit").await > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_first_read_misses_and_the_next_hits_on_every_instance() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let task = one.api().task("t", None).await;
    in_use(&one).await;
    for path in ["/tasks/1", "/tasks?status=pending"] {
        let (misses, hits) = (reads(&one, "miss").await, reads(&two, "hit").await);
        let first = one.api().get(path).await.expect(200);
        assert_eq!(reads(&one, "miss").await, misses + 1, "{path}");
        assert_eq!(two.api().get(path).await.expect(200), first);
        assert_eq!(reads(&two, "hit").await, hits + 1, "{path}");
    }
    assert_eq!(one.api().get("/tasks/1").await.expect(200), task);
    assert!(redis_contents(&world.prefix).await.contains("\"title\":\"t\""));
    // What is not there is not kept: it may come to be.
    for _ in 0..2 {
        assert_eq!(two.api().get("/tasks/2").await.status, 404);
    }
    two.api().task("u", None).await;
    assert_eq!(one.api().get("/tasks/2").await.expect(200)["title"], "u");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_redis_every_read_goes_to_the_database() {
    let world = World::new().await;
    let mut command = world.command(&["serve"], &[]);
    command.env_remove("REDIS_URL");
    let serve = taskd_testing::Process::start(command, "serve without a cache");
    let line = serve.log("it serves", |line| line["address"].is_string()).await;
    assert_eq!(line["cache"], "off");
    let api = Api::at(line["address"].as_str().unwrap());
    api.task("t", None).await;
    for title in ["u", "v"] {
        api.patch("/tasks/1", json!({ "title": title })).await.expect(200);
        assert_eq!(api.get("/tasks/1").await.expect(200)["title"], title);
    }
    assert_eq!(api.get("/readyz").await.expect(200)["dependencies"]["cache"]["status"], "off");
    assert_eq!(redis_contents(&world.prefix).await, "");
}

/// Reads all the time, so that some reads are under way at every write.
fn read_in_background(api: Api, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let (mut count, mut newest) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let version = api.get("/tasks/1").await.expect(200)["version"].as_i64().unwrap();
            // One reader after the other: what was seen once can't be unseen.
            assert!(version >= newest, "version {version} after {newest}");
            newest = version;
            api.get("/tasks?search=title").await.expect(200);
            count += 2;
        }
        count
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_read_that_begins_after_a_write_was_answered_sees_it_on_the_other_instance() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    one.api().task("title 0", None).await;
    in_use(&one).await;
    let before = reads(&one, "hit").await + reads(&two, "hit").await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [&one, &two, &one, &two]
        .map(|serve| read_in_background(serve.api(), Arc::clone(&stop)))
        .into();
    for number in 1..=150 {
        let (writer, reader) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let title = format!("title {number}");
        let written = writer.api().patch("/tasks/1", json!({ "title": title })).await.expect(200);
        assert_eq!(reader.api().get("/tasks/1").await.expect(200), written, "write {number}");
        let listed = reader.api().get("/tasks?search=title").await.expect(200);
        assert_eq!(listed["data"], json!([written]), "write {number}");
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert!(reads(&one, "hit").await + reads(&two, "hit").await > before, "the cache was in use");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_kind_of_write_is_seen_on_the_other_instance() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let (write, read) = (one.api(), two.api());
    in_use(&two).await;
    let total = async || read.get("/tasks?total=true").await.expect(200)["total"].clone();
    for round in 1..=10 {
        let user = write.user(&format!("u{round}@example.com")).await;
        let category =
            write.post("/categories", json!({ "name": format!("c{round}") })).await.expect(201);
        let category = category["id"].as_i64().unwrap();
        assert_eq!(total().await, 0);
        let input = json!({ "title": "t", "userId": user, "categoryId": category });
        let task = write.post("/tasks", input).await.expect(201);
        assert_eq!(total().await, 1);
        let path = format!("/tasks/{}", task["id"]);
        let seen = async |member: &str| read.get(&path).await.expect(200)[member].clone();
        assert_eq!(seen("userId").await, user);
        write.delete(&format!("/users/{user}")).await.expect(204);
        assert_eq!(seen("userId").await, Value::Null);
        write.delete(&format!("/categories/{category}")).await.expect(204);
        assert_eq!(seen("categoryId").await, Value::Null);
        write.put(&path, json!({ "title": "put" })).await.expect(200);
        assert_eq!(seen("title").await, "put");
        write.delete(&path).await.expect(204);
        assert_eq!(read.get(&path).await.status, 404);
        assert_eq!(total().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn those_who_miss_one_key_at_the_same_time_read_the_database_once() {
    const READERS: usize = 24;
    let world = World::new().await;
    let serve = world.serve_with(&[("DATABASE_POOL_SIZE", "30")]).await;
    serve.api().task("t", None).await;
    in_use(&serve).await;
    let before = reads(&serve, "miss").await;
    let (holder, looker) = (world.db().await, world.db().await);
    holder.run("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let api = serve.api();
        readers.spawn(async move { api.get("/tasks/1").await.expect(200) });
    }
    eventually("all have missed", || async {
        (reads(&serve, "miss").await == before + READERS).then_some(())
    })
    .await;
    let waiting =
        "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("one waits for the table", || async {
        (looker.count(waiting).await > 0).then_some(())
    })
    .await;
    assert_eq!(looker.count(waiting).await, 1);
    holder.run("COMMIT").await;
    for task in readers.join_all().await {
        assert_eq!(task["title"], "t");
    }
}

/// A write that takes longer than its bar lasts: what was read meanwhile is not found after it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_write_that_is_slower_than_its_bar_is_seen_on_the_other_instance() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    one.api().task("t", None).await;
    in_use(&two).await;
    let (holder, looker) = (world.db().await, world.db().await);
    holder.run("BEGIN; SELECT FROM tasks WHERE id = 1 FOR UPDATE").await;
    let writer = one.api();
    let written =
        tokio::spawn(
            async move { writer.patch("/tasks/1", json!({ "title": "u" })).await.expect(200) },
        );
    let waiting =
        "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("the write waits", || async { (looker.count(waiting).await > 0).then_some(()) })
        .await;
    let paths = ["/tasks/1", "/tasks"];
    for path in paths {
        eventually("the bar has ended, and the old is filled", || async {
            let before = reads(&two, "hit").await;
            two.api().get(path).await.expect(200);
            (reads(&two, "hit").await > before).then_some(())
        })
        .await;
    }
    holder.run("COMMIT").await;
    let task = written.await.unwrap();
    assert_eq!(two.api().get("/tasks/1").await.expect(200), task);
    assert_eq!(two.api().get("/tasks").await.expect(200)["data"], json!([task]));
}

/// Nothing is left of a bar after its write: what is read then is filled at once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn after_a_write_entries_are_soon_filled_again() {
    let world = World::new().await;
    let serve = world.serve().await;
    serve.api().task("t", None).await;
    in_use(&serve).await;
    const WRITES: u32 = 10;
    let mut quickest = Duration::MAX;
    for number in 0..WRITES {
        let started = Instant::now();
        let title = json!({ "title": format!("{number}") });
        serve.api().patch("/tasks/1", title).await.expect(200);
        for path in ["/tasks/1", "/tasks"] {
            eventually("it is hit", || async {
                let before = reads(&serve, "hit").await;
                serve.api().get(path).await.expect(200);
                (reads(&serve, "hit").await > before).then_some(())
            })
            .await;
        }
        quickest = quickest.min(started.elapsed());
    }
    // Of bars that are not lifted, each would take its whole time.
    assert!(quickest < BAR, "bars are lifted: {quickest:?}");
}
