//! The pager's one answer, and the history of minutes that it shows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taskd::ground::tls::Tls;
use taskd::operate::presence;
use taskd::store::gates::parked;
use taskd::store::letters::groups;
use taskd::store::operation::{inspect, minutes, pulse};
use taskd::store::{PostgresUrl, Store};

use taskd_testing::{Api, World, eventually};

async fn overview(api: &Api) -> Value {
    api.get("/overview").await.expect(200)
}

/// The overview, once it passes.
async fn once(api: &Api, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async { Some(overview(api).await).filter(|found| passes(found)) }).await
}

fn problem<'a>(overview: &'a Value, kind: &str) -> Option<&'a Value> {
    overview["problems"].as_array().unwrap().iter().find(|problem| problem["kind"] == kind)
}

/// The sum of a count over all minutes.
fn sum(overview: &Value, count: &str) -> u64 {
    let minutes = overview["history"].as_array().unwrap().iter();
    minutes.map(|minute| minute[count].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_well_says_so_and_has_a_row_for_each_minute() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    let found = once(&api, "it works", |found| found["working"] == json!(true)).await;
    let line = "working: 1 worker and 1 server are there, and nothing needs you";
    let found = match found["summary"] == line {
        true => found,
        // The process notes its presence a moment after it serves.
        false => once(&api, "it says so", |found| found["summary"] == line).await,
    };
    assert_eq!(found["problems"], json!([]));
    assert_eq!(found["outbox"], json!({ "unpublished": 0, "oldestAgeSeconds": null }));
    assert_eq!(found["deadLetters"], json!({ "open": 0, "causes": 0, "growing": 0 }));
    let email = &found["effects"].as_array().unwrap().iter().find(|e| e["name"] == "email");
    let running =
        json!({ "name": "email", "state": "running", "parked": 0, "since": null, "by": null });
    assert_eq!(**email.as_ref().unwrap(), running);
    assert_eq!(found["processes"][0]["role"], "up");
    let queues = found["queues"].as_array().unwrap();
    assert!(queues.iter().any(|queue| queue["role"] == "main"), "{found}");
    assert_eq!(found["history"].as_array().unwrap().len(), 60);
    for (minutes, rows) in [("1", 1), ("7", 7), ("1440", 1440)] {
        let found = api.get(&format!("/overview?minutes={minutes}")).await.expect(200);
        let history = found["history"].as_array().unwrap();
        assert_eq!(history.len(), rows);
        let first = history[0]["minute"].as_str().unwrap();
        assert!(first.ends_with(":00Z"), "{first}");
    }
    for wrong in ["minutes=0", "minutes=1441", "minutes=x", "minutes=-1", "hours=1"] {
        let refused = api.get(&format!("/overview?{wrong}")).await;
        assert_eq!(refused.code(400), "validation_failed", "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_was_done_is_still_told_after_a_restart() {
    const TASKS: usize = 5;
    let world = World::new().await;
    let (serve, work) = (world.serve().await, world.work("w", &[]).await);
    for number in 0..TASKS {
        serve.api().task(&format!("t{number}"), Some(1)).await;
    }
    eventually("all is processed", || async {
        let processed = work.logs().iter().filter(|line| line["outcome"] == "processed").count();
        (processed == TASKS).then_some(())
    })
    .await;
    // Each adds what is left when it stops.
    for process in [&work, &serve] {
        process.signal("TERM");
        assert_eq!(process.exit().await.code(), Some(0));
    }
    let serve = world.serve().await;
    let found = overview(&serve.api()).await;
    for (count, wanted) in
        [("created", 5), ("published", 5), ("processed", 5), ("retried", 0), ("dead", 0)]
    {
        assert_eq!(sum(&found, count), wanted, "{count}");
    }
    let minutes = found["history"].as_array().unwrap();
    let busy: Vec<&Value> = minutes.iter().filter(|minute| minute["p50Ms"].is_number()).collect();
    assert!(!busy.is_empty(), "{found}");
    for minute in busy {
        let (half, most) = (minute["p50Ms"].as_f64().unwrap(), minute["p95Ms"].as_f64().unwrap());
        assert!(0.0 < half && half <= most, "{minute}");
    }
    assert!(minutes.iter().any(|minute| minute["p50Ms"].is_null()), "an hour was not all busy");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn processes_add_to_the_same_minute_and_an_idle_one_adds_nothing() {
    let world = World::new().await;
    let db = world.db().await;
    let (serve, work) = (world.serve().await, world.work("w", &[]).await);
    for process in [&work, &serve] {
        process.signal("TERM");
        process.exit().await;
    }
    assert_eq!(db.count("activity_minutes").await, 0, "nothing was done");
    let serve = world.serve().await;
    serve.api().task("t", Some(1)).await;
    // While it runs, too.
    let created = || async { db.count("activity_minutes WHERE created > 0").await };
    eventually("it is added", || async { (created().await > 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn each_trouble_is_named_with_what_helps_and_goes_when_it_is_over() {
    let world = World::new().await;
    let db = world.db().await;
    let serve = world.serve().await;
    let api = serve.api();
    let found =
        once(&api, "there is no worker", |found| problem(found, "no_worker").is_some()).await;
    assert_eq!(found["working"], false);
    assert!(found["summary"].as_str().unwrap().starts_with("not working: no worker is consuming"));
    let missing = problem(&found, "no_worker").unwrap();
    assert_eq!(missing["press"], "start a worker: taskd work");
    assert_eq!(missing["about"], json!({ "type": "process", "name": "workers" }));

    let work = world.work("w", &[]).await;
    once(&api, "it works", |found| found["working"] == json!(true)).await;
    world.run(&["effects", "pause", "email", "--reason", "r"]).await.succeeded();
    let found = overview(&api).await;
    assert_eq!(found["working"], true, "a pause is somebody's will: {found}");
    let paused = problem(&found, "paused").unwrap();
    assert!(paused["what"].as_str().unwrap().contains("has paused email"), "{paused}");
    assert!(paused["press"].as_str().unwrap().contains("taskd effects resume email"), "{paused}");
    let email = found["effects"].as_array().unwrap().iter().find(|e| e["name"] == "email").unwrap();
    assert_eq!((&email["state"], email["since"].is_string()), (&json!("paused"), true));
    assert!(email["by"].as_str().unwrap().contains("command line"), "{email}");
    world.run(&["effects", "resume", "email"]).await.succeeded();

    db.run(
        "INSERT INTO dead_letters (id, reason, attempts, died_at, fingerprint, pattern, message, body, is_ours,
                                   recorded)
         SELECT 'l' || n, 'permanent', 1, now(), 'f' || n % 30, 'p', '{}', '', true, true
         FROM generate_series(1, 300) n;
         INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, lease_owner, leased_until)
         VALUES (gen_random_uuid(), 1, 1, 'TASK_CREATED', '{}', now() - interval '10 min', gen_random_uuid(),
                 now() + interval '1 h');
         INSERT INTO effect_gates (effect, opened_at, opened_by, error, probe_at)
         VALUES ('email', now(), 'w', '451 later', now() + interval '1 h')",
    )
    .await;
    let found = overview(&api).await;
    assert_eq!(found["working"], false);
    let letters = problem(&found, "dead_letters").unwrap();
    assert_eq!((&letters["count"], &letters["growing"]), (&json!(10), &json!(true)));
    assert_eq!(letters["about"]["type"], "group");
    let groups = found["problems"].as_array().unwrap().iter();
    assert_eq!(groups.filter(|problem| problem["kind"] == "dead_letters").count(), 20);
    assert_eq!(found["deadLetters"], json!({ "open": 300, "causes": 30, "growing": 30 }));
    let outbox = problem(&found, "outbox_waits").unwrap();
    assert_eq!((&outbox["count"], outbox["since"].is_string()), (&json!(1), true));
    assert!(found["outbox"]["oldestAgeSeconds"].as_f64().unwrap() > 500.0, "{found}");
    let breaker = problem(&found, "breaker_open").unwrap();
    assert!(breaker["what"].as_str().unwrap().contains("451 later"), "{breaker}");
    drop(work);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn it_answers_at_once_while_the_broker_and_the_cache_are_away() {
    let world = World::new().await;
    let away = [("RABBITMQ_URL", "amqp://127.0.0.1:1"), ("REDIS_URL", "redis://127.0.0.1:1")];
    let serve = world.serve_with(&away).await;
    let api = serve.api();
    let found =
        once(&api, "the broker is away", |found| problem(found, "broker_away").is_some()).await;
    assert_eq!((&found["working"], &found["queues"]), (&json!(false), &json!([])));
    let since = problem(&found, "broker_away").unwrap()["since"].clone();
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        let found = overview(&api).await;
        quickest = quickest.min(began.elapsed());
        assert_eq!(problem(&found, "broker_away").unwrap()["since"], since, "it began once");
    }
    // None of them waited for what is away.
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_it_says_just_that() {
    let world = World::cut_off();
    let serve = world.serve().await;
    let found = overview(&serve.api()).await;
    assert_eq!(
        (&found["working"], &found["problems"][0]["kind"]),
        (&json!(false), &json!("database_away"))
    );
    let press = found["problems"][0]["press"].as_str().unwrap();
    assert!(press.starts_with("bring the database back: docker compose up -d postgres"), "{press}");
    for unknown in ["outbox", "deadLetters"] {
        assert_eq!(found[unknown], Value::Null);
    }
    for unknown in ["effects", "processes", "history"] {
        assert_eq!(found[unknown], json!([]));
    }
}

/// As large as makes reading one of them whole the wrong plan.
const LARGE: &str = "
    INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
    SELECT gen_random_uuid(), 1, 1, 'TASK_CREATED', '{}', now(), CASE WHEN n % 100 > 0 THEN now() END
    FROM generate_series(1, 30000) n;
    INSERT INTO processed_messages (event_id, effect, state)
    SELECT id, 'email', 'done' FROM events;
    INSERT INTO unfinished_events (event_id, state) SELECT id, 'queued' FROM events;
    INSERT INTO event_steps (event_id, kind, attempt, retries, actor, message)
    SELECT id, 'failed', 1, 5, 'w', 'm' FROM events;
    INSERT INTO task_activity (event_id, task_id, task_version, type, occurred_at)
    SELECT id, 1, 1, 'TASK_CREATED', now() FROM events;
    INSERT INTO dead_letters (id, reason, attempts, died_at, fingerprint, pattern, message, body, is_ours, recorded)
    SELECT 'l' || n, 'permanent', 1, now(), 'f' || n % 50, 'p', '{}', '', true, true
    FROM generate_series(1, 30000) n;
    ANALYZE";

/// How many rows the transaction has read without an index, of the tables that may be large.
const READ_WHOLE: &str = "
    SELECT sum(pg_stat_get_xact_tuples_returned(name))::bigint AS count
    FROM unnest(ARRAY['events', 'processed_messages', 'unfinished_events', 'event_steps', 'task_activity',
                      'dead_letters']::regclass[]) AS name";

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_large_table_is_read_whole_for_it_or_for_live_pages() {
    let world = World::new().await;
    world.db().await.run(LARGE).await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 1).unwrap();
    let mut connection = store.connection().await.unwrap();
    let connection = &mut connection;
    let run = diesel_async::RunQueryDsl::execute(diesel::sql_query("BEGIN"), connection);
    run.await.unwrap();
    let outbox = inspect::outbox(connection, 100).await.unwrap();
    assert_eq!((outbox.unpublished, outbox.oldest_seconds.is_some()), (100, true));
    assert_eq!(inspect::open_letters(connection).await.unwrap().letters, 30_000);
    assert_eq!(groups::worst(connection, 20).await.unwrap().len(), 20);
    assert_eq!(parked::counts(connection, &["email"], 100).await.unwrap()["email"], 0);
    presence::look(connection).await.unwrap();
    assert_eq!(minutes::list(connection, 1_440).await.unwrap().len(), 1_440);
    pulse::fingerprint(connection).await.unwrap();
    let read: Count =
        diesel_async::RunQueryDsl::get_result(diesel::sql_query(READ_WHOLE), connection)
            .await
            .unwrap();
    assert_eq!(read.count, 0);
}
