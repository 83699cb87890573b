//! Events for operators: which there are, and what became of each.

use serde_json::{Value, json};

use crate::access::House;
use taskd_testing::{Api, Db, World, eventually};

/// So many events of 100 tasks, every tenth a deletion, one in a thousand unpublished. Their ids ascend.
fn events(count: usize) -> String {
    format!(
        "INSERT INTO events (id, task_id, task_version, type, payload, occurred_at, published_at)
         SELECT lpad(to_hex(n), 32, '0')::uuid, n % 100 + 1, n,
                CASE WHEN n % 10 = 0 THEN 'TASK_DELETED' ELSE 'TASK_CREATED' END, '{{}}', now(),
                CASE WHEN n % 1000 > 0 THEN now() END
         FROM generate_series(1, {count}) n; ANALYZE events"
    )
}

/// Then nobody publishes them.
const LEASED: &str =
    "UPDATE events SET leased_until = now() + interval '1 hour' WHERE published_at IS NULL";

/// Pages to the end: the versions, by which the rows of a test are told apart.
async fn versions(api: &Api, query: &str) -> Vec<i64> {
    let (mut versions, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/events?limit=100&{query}{cursor}")).await.expect(200);
        let rows = page["data"].as_array().unwrap();
        versions.extend(rows.iter().map(|event| event["taskVersion"].as_i64().unwrap()));
        let Some(next) = page["nextCursor"].as_str() else { return versions };
        assert_eq!(rows.len(), 100, "{query}");
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn events_are_listed_newest_first_page_by_page_through_every_filter() {
    let world = World::new().await;
    let db = world.db().await;
    db.run(&events(1000)).await;
    db.run(LEASED).await;
    let serve = world.serve().await;
    let api = serve.api();
    let all = |keep: fn(&i64) -> bool| (1..=1000).rev().filter(keep).collect::<Vec<i64>>();
    for (query, wanted) in [
        ("", all(|_| true)),
        ("taskId=7", all(|n| n % 100 == 6)),
        ("taskId=777", vec![]),
        ("type=TASK_DELETED", all(|n| n % 10 == 0)),
        ("type=TASK_UPDATED", vec![]),
        ("published=true", all(|n| *n < 1000)),
        ("published=false", vec![1000]),
        ("published=true&type=TASK_DELETED&taskId=1", all(|n| n % 100 == 0 && *n < 1000)),
    ] {
        assert_eq!(versions(&api, query).await, wanted, "{query}");
        let counted = api.get(&format!("/events?total=true&limit=1&{query}")).await.expect(200);
        assert_eq!(counted["total"], wanted.len(), "{query}");
    }
    for wrong in ["taskId=0", "type=TASK_EATEN", "published=1", "cursor=WzFd", "sort=id"] {
        let problem = api.get(&format!("/events?{wrong}")).await.expect(400);
        let name = wrong.split('=').next().unwrap();
        assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_event_says_what_became_of_it() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let task = api.task("t", Some(1)).await;
    let list = api.get("/events").await;
    assert_eq!(list.header("cache-control"), "no-store");
    let listed = list.expect(200)["data"][0].clone();
    let path = format!("/events/{}", listed["eventId"].as_str().unwrap());
    let published = eventually("it is published", || async {
        let event = api.get(&path).await.expect(200);
        event["publishedAt"].is_string().then_some(event)
    })
    .await;
    assert_eq!(published["effects"], json!([]), "no worker has begun");
    assert_eq!((&published["type"], &published["payload"]), (&json!("TASK_CREATED"), &task));
    assert_eq!((&published["taskId"], &published["taskVersion"]), (&task["id"], &json!(1)));
    assert_eq!(published["occurredAt"], listed["occurredAt"]);

    let _work = world.work("w", &[]).await;
    let processed = eventually("it is processed", || async {
        let event = api.get(&path).await.expect(200);
        let effects = event["effects"].as_array().unwrap();
        let done = effects.len() == 2 && effects.iter().all(|effect| effect["state"] == "done");
        done.then_some(event)
    })
    .await;
    for (effect, name) in processed["effects"].as_array().unwrap().iter().zip(["activity", "email"])
    {
        assert_eq!((&effect["effect"], &effect["note"]), (&json!(name), &Value::Null));
        assert!(effect["touchedAt"].is_string() && effect["claimedBy"].is_null(), "{effect}");
    }
    let (db, id) = (world.db().await, listed["eventId"].as_str().unwrap());
    db.run(&format!(
        "UPDATE processed_messages SET state = 'skipped', note = 'why' WHERE effect = 'activity';
         UPDATE processed_messages SET state = 'claimed', claimed_by = 'w', claimed_until = now()
         WHERE event_id = '{id}' AND effect = 'email'"
    ))
    .await;
    let effects = api.get(&path).await.expect(200)["effects"].clone();
    assert_eq!((&effects[0]["state"], &effects[0]["note"]), (&json!("skipped"), &json!("why")));
    assert_eq!((&effects[1]["state"], &effects[1]["claimedBy"]), (&json!("claimed"), &json!("w")));
    assert!(effects[1]["claimedUntil"].is_string());

    let unknown = "/events/01a20c26-baf3-7396-8c9e-8c32b8533154";
    assert_eq!(api.get(unknown).await.code(404), "not_found");
    for wrong in
        ["1", "01a20c26baf373968c9e8c32b8533154", "%7B01a20c26-baf3-7396-8c9e-8c32b8533154%7D"]
    {
        let problem = api.get(&format!("/events/{wrong}")).await.expect(400);
        assert_eq!(problem["errors"][0]["pointer"], "/eventId", "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_for_admins_alone() {
    let house = House::embedded().await;
    let id =
        house.member.post("/tasks", json!({ "title": "mine" })).await.expect(201)["id"].clone();
    let event = house.admin.get(&format!("/events?taskId={id}")).await.expect(200);
    let path = format!("/events/{}", event["data"][0]["eventId"].as_str().unwrap());
    house.admin.get(&path).await.expect(200);
    for path in ["/events", &path] {
        assert_eq!(house.member.get(path).await.code(403), "forbidden", "also of its own task");
        assert_eq!(house.anonymous().get(path).await.code(401), "unauthenticated");
    }
}

/// A backend tells what it has done when it ends, so: once all others have.
async fn alone(db: &Db) {
    let clients = "pg_stat_activity
                   WHERE datname = current_database() AND backend_type = 'client backend'";
    eventually("the others end", || async { (db.count(clients).await == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_filter_that_is_asked_for_reads_the_whole_table() {
    let world = World::new().await;
    let filler = world.db().await;
    filler.run(&events(50_000)).await;
    filler.run(&format!("{LEASED}; ANALYZE events")).await;
    drop(filler);
    let db = world.db().await;
    alone(&db).await;
    let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'events'";
    let before = db.number(scans).await;
    let serve = world.serve().await;
    let api = serve.api();
    for query in [
        "",
        "taskId=7",
        "type=TASK_CREATED",
        "published=false",
        "published=false&type=TASK_DELETED",
        "taskId=7&published=true&type=TASK_CREATED",
    ] {
        api.get(&format!("/events?{query}")).await.expect(200);
    }
    serve.kill_9().await;
    alone(&db).await;
    let uses = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'events_task'";
    assert!(db.number(uses).await >= 2);
    assert_eq!(db.number(scans).await, before);
}
