//! Webhooks that keep the order of versions, and what several workers, deaths and slow endpoints do
//! to deliveries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::webhooks::{allow, deliveries, hook, set, settled, world};
use taskd_testing::{Manner, Received, Receiver, Smtp, World, eventually, eventually_within};

/// Task and version of what was received.
fn version(received: &Received) -> (i64, i64) {
    let payload = &received.json()["payload"];
    (payload["id"].as_i64().unwrap(), payload["version"].as_i64().unwrap())
}

fn versions(received: &[Received]) -> Vec<i64> {
    received.iter().map(|one| version(one).1).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_later_version_waits_until_the_one_before_is_done_or_given_up() {
    let set = set().await;
    set.receiver.set("/ordered", Manner::Status(500));
    set.receiver.set("/hopeless", Manner::Status(500));
    let ordered =
        set.hook("/ordered", json!({ "ordered": true, "retryDelays": ["2s", "2s"] })).await;
    let hopeless = set.hook("/hopeless", json!({ "ordered": true, "retryDelays": [] })).await;
    let task = set.api.task("t", Some(1)).await["id"].as_i64().unwrap();
    set.receiver.wait_for("/ordered", 1).await;
    for title in ["a", "b", "c"] {
        set.api.patch(&format!("/tasks/{task}"), json!({ "title": title })).await.expect(200);
    }
    let other = set.api.task("other", Some(1)).await["id"].as_i64().unwrap();
    eventually("the later ones wait", || async {
        let found = deliveries(&set.api, &ordered).await;
        (found.iter().filter(|one| one["state"] == "waiting").count() == 3).then_some(())
    })
    .await;
    // Another task does not wait for this one.
    eventually("the other task is tried", || async {
        let received = set.receiver.received("/ordered");
        received.iter().any(|one| version(one).0 == other).then_some(())
    })
    .await;
    assert!(set.receiver.received("/ordered").iter().all(|one| version(one).1 == 1));
    set.receiver.set("/ordered", Manner::Status(200));
    let done = set.settled(&ordered, 5).await;
    assert!(done.iter().all(|one| one["state"] == "done"), "{done:?}");
    let received = set.receiver.received("/ordered");
    let of_task: Vec<Received> =
        received.into_iter().filter(|one| version(one).0 == task).collect();
    let mut seen = versions(&of_task);
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 4]);
    // Where each is given up at once, the next one has its turn.
    let failed = set.settled(&hopeless, 5).await;
    assert!(failed.iter().all(|one| one["state"] == "failed"), "{failed:?}");
    let received = set.receiver.received("/hopeless");
    let of_task: Vec<Received> =
        received.into_iter().filter(|one| version(one).0 == task).collect();
    assert_eq!(versions(&of_task), [1, 2, 3, 4]);
    // What was given up comes back in order, too.
    set.receiver.set("/hopeless", Manner::Status(200));
    let path = format!("/webhooks/{}/recover", hopeless["id"]);
    let recovered =
        set.api.post(&path, json!({ "since": "2020-01-01T00:00:00Z" })).await.expect(200);
    assert_eq!(recovered["count"], 5);
    set.settled(&hopeless, 5).await;
    let received = set.receiver.received("/hopeless");
    let of_task: Vec<Received> =
        received.into_iter().filter(|one| version(one).0 == task).collect();
    assert_eq!(versions(&of_task), [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_order_holds_with_writers_workers_and_an_endpoint_that_comes_and_goes() {
    const TASKS: usize = 8;
    const CHANGES: usize = 12;
    let world = world().await;
    let serve = world.serve().await;
    let _workers = tokio::join!(world.work("w1", &[]), world.work("w2", &[]));
    let (api, receiver) = (serve.api(), Receiver::start().await);
    let order = json!({ "ordered": true, "retryDelays": ["1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"] });
    let hook = hook(&api, &receiver, "/flaps", order).await.expect(201);
    let flapping = async {
        for _ in 0..6 {
            for manner in [Manner::Status(503), Manner::BreakOff, Manner::Status(200)] {
                receiver.set("/flaps", manner);
                let so_far = receiver.received("/flaps").len();
                // Until something has come in this manner, or nothing does.
                for _ in 0..20 {
                    if receiver.received("/flaps").len() > so_far + 3 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    let writing = join_all((0..TASKS).map(|number| {
        let api = &api;
        async move {
            let task = api.task(&format!("task {number}"), Some(1)).await["id"].clone();
            for change in 0..CHANGES {
                let body = json!({ "title": format!("{number} {change}") });
                api.patch(&format!("/tasks/{task}"), body).await.expect(200);
            }
        }
    }));
    tokio::join!(flapping, writing);
    eventually_within(Duration::from_secs(90), "all are done", || async {
        let path = format!("/webhooks/{}/deliveries?state=done&limit=100", hook["id"]);
        let (mut done, mut next) = (0, Some(path.clone()));
        while let Some(page) = next.take() {
            let page = api.get(&page).await.expect(200);
            done += page["data"].as_array().unwrap().len();
            next = page["nextCursor"].as_str().map(|cursor| format!("{path}&cursor={cursor}"));
        }
        (done == TASKS * (CHANGES + 1)).then_some(())
    })
    .await;
    let mut accepted: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for one in receiver.received("/flaps") {
        let (task, version) = version(&one);
        if one.manner == Manner::Status(200) {
            accepted.entry(task).or_default().push(version);
        }
        // Nothing was tried before the one before it was accepted.
        let before = accepted.get(&task).map_or(0, |seen| *seen.last().unwrap());
        assert!(version <= before + 1, "task {task}: {version} after {before}");
    }
    for (task, seen) in accepted {
        assert_eq!(seen, (1..=1 + CHANGES as i64).collect::<Vec<_>>(), "task {task}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_worker_that_is_killed_loses_nothing_and_repeats_what_it_had_in_flight() {
    const EVENTS: usize = 1_000;
    const ENDPOINTS: usize = 20;
    let world = world().await;
    let serve = world.serve().await;
    let (api, receiver) = (serve.api(), Receiver::start().await);
    let paths: Vec<String> = (0..ENDPOINTS).map(|number| format!("/{number}")).collect();
    for path in &paths {
        hook(&api, &receiver, path, json!({})).await.expect(201);
    }
    join_all((0..10).map(|_| async {
        for number in 0..EVENTS / 10 {
            api.task(&format!("task {number}"), Some(1)).await;
        }
    }))
    .await;
    let killed = world.work("killed", &[]).await;
    let total = || paths.iter().map(|path| receiver.received(path).len()).sum::<usize>();
    eventually("a third is sent", || async { (total() > EVENTS * ENDPOINTS / 3).then_some(()) })
        .await;
    killed.kill_9().await;
    let _work = world.work("w", &[]).await;
    let db = world.db().await;
    let open = "SELECT count(*) FROM webhook_deliveries WHERE state <> 'done'";
    eventually_within(Duration::from_secs(180), "all are done", || async {
        let made = db.count("webhook_deliveries").await;
        (made == (EVENTS * ENDPOINTS) as i64 && db.number(open).await == 0).then_some(())
    })
    .await;
    let mut repeated = 0;
    for path in &paths {
        let received = receiver.received(path);
        let distinct: BTreeSet<&str> = received.iter().map(Received::id).collect();
        assert_eq!(distinct.len(), EVENTS, "{path}");
        repeated += received.len() - distinct.len();
    }
    assert!(repeated <= 512, "{repeated} repeats, and 512 are in flight at most");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn endpoints_that_hang_delay_neither_others_nor_mail() {
    const HANGING: usize = 300;
    let smtp = Smtp::start().await;
    let mut world = World::new().await;
    allow(&mut world);
    world.set("SMTP_URL", &smtp.url());
    let serve = world.serve_with(&[("AUTH", "tokens"), ("RATE_LIMIT_WRITES", "off")]).await;
    let receiver = Receiver::start().await;
    let admin = serve.api().with_token(&world.token(&["--user", "1", "--admin"]).await);
    let mut made = 0;
    while made < HANGING {
        let email = format!("hangs{made}@example.com");
        let user = admin.user(&email).await.to_string();
        let admin = ["--user", &user, "--admin"];
        let owner = serve.api().with_token(&world.token(&admin).await);
        for _ in 0..50 {
            let path = format!("/hangs/{made}");
            receiver.set(&path, Manner::Hang);
            hook(&owner, &receiver, &path, json!({})).await.expect(201);
            made += 1;
        }
    }
    let well = hook(&admin, &receiver, "/well", json!({})).await.expect(201);
    let _work = world.work("w", &[]).await;
    // It has answered before the others hang.
    admin.task("first", Some(1)).await;
    settled(&admin, &well, 1).await;
    for title in ["second", "third", "fourth"] {
        admin.task(title, Some(1)).await;
    }
    let received = receiver.wait_for("/well", 4).await;
    smtp.wait_for(4).await;
    let (first, last) = (received[0].at, received[3].at);
    // The others' first tries are not over yet: they take 15 s.
    assert!(last - first < Duration::from_secs(12), "{:?}", last - first);
    assert!(receiver.most_under_way() <= 512, "{}", receiver.most_under_way());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_rate_is_kept_over_all_workers() {
    let world = world().await;
    let serve = world.serve().await;
    let (api, receiver) = (serve.api(), Receiver::start().await);
    let slow = hook(&api, &receiver, "/slow", json!({ "rate": 10 })).await.expect(201);
    assert_eq!(slow["rate"], 10);
    for number in 0..40 {
        api.task(&format!("task {number}"), Some(1)).await;
    }
    let _workers = tokio::join!(world.work("w1", &[]), world.work("w2", &[]));
    settled(&api, &slow, 40).await;
    let received = receiver.received("/slow");
    // Ten at once, and then ten a second.
    let took = received[39].at - received[0].at;
    assert!(took >= Duration::from_millis(2_500), "{took:?}");
    let path = format!("/webhooks/{}", slow["id"]);
    let changed = api.patch(&path, json!({ "rate": "60/1m" })).await.expect(200);
    assert_eq!(changed["rate"], "60/1m");
    assert_eq!(api.patch(&path, json!({ "rate": null })).await.expect(200)["rate"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn nothing_is_purged_that_is_still_to_be_delivered() {
    let set = set().await;
    set.receiver.set("/500", Manner::Status(500));
    let open = set.hook("/500", json!({ "retryDelays": ["1h"] })).await;
    let done = set.hook("/done", json!({})).await;
    set.api.task("t", Some(1)).await;
    set.receiver.wait_for("/500", 1).await;
    set.settled(&done, 1).await;
    let db = set.world.db().await;
    let purge = async || {
        // Everything that was published was looked at.
        db.run("UPDATE webhook_progress SET seen_at = now() + interval '1 day'").await;
        let short = [("EVENT_RETENTION", "1ms")];
        set.world.run_with(&["purge", "--once"], &short).await.succeeded();
        db.count("events").await
    };
    assert_eq!(purge().await, 1);
    set.receiver.set("/500", Manner::Status(200));
    db.run("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending'").await;
    set.settled(&open, 1).await;
    assert_eq!((purge().await, db.count("webhook_deliveries").await), (0, 0));
    // What was not looked at stays, however old it is.
    db.run("UPDATE webhook_progress SET seen_at = now() - interval '1 day'").await;
    set.work.signal("STOP");
    set.api.task("t", Some(1)).await;
    eventually("it is published", || async {
        let left = db.number("SELECT count(*) FROM events WHERE published_at IS NULL").await;
        (left == 0).then_some(())
    })
    .await;
    let short = [("EVENT_RETENTION", "1ms")];
    set.world.run_with(&["purge", "--once"], &short).await.succeeded();
    assert_eq!(db.count("events").await, 1);
    set.work.signal("CONT");
    set.receiver.wait_for("/done", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn endpoints_that_were_well_and_then_hang_keep_others_waiting_for_a_moment_alone() {
    const ENDPOINTS: usize = 18;
    let set = set().await;
    let mut paths = Vec::new();
    for number in 0..ENDPOINTS {
        let path = format!("/turns/{number}");
        set.hook(&path, json!({})).await;
        paths.push(path);
    }
    let well = set.hook("/well", json!({ "filter": { "title": "the one" } })).await;
    let write = async |count: usize| {
        join_all((0..count).map(|_| set.api.task("many", Some(1)))).await;
    };
    // Each is known to be quick, and may have as many in flight as any.
    write(80).await;
    for path in &paths {
        set.receiver.wait_for(path, 80).await;
    }
    paths.iter().for_each(|path| set.receiver.set(path, Manner::Hang));
    write(80).await;
    eventually("they hang", || async { (set.receiver.most_under_way() > 200).then_some(()) }).await;
    let began = std::time::Instant::now();
    set.api.task("the one", Some(1)).await;
    set.settled(&well, 1).await;
    // Their tries are over after 15 s.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_ordered_again_while_it_is_in_flight_is_sent_again() {
    let set = set().await;
    set.receiver.set("/hangs", Manner::Hang);
    let hook = set.hook("/hangs", json!({ "retryDelays": [] })).await;
    set.api.task("t", Some(1)).await;
    set.receiver.wait_for("/hangs", 1).await;
    let delivery = deliveries(&set.api, &hook).await.remove(0);
    set.receiver.set("/hangs", Manner::Status(200));
    let path = format!("/webhooks/{}/deliveries/{}/resend", hook["id"], delivery["id"]);
    set.api.post(&path, json!({})).await.expect(200);
    set.receiver.wait_for("/hangs", 2).await;
    assert_eq!(set.settled(&hook, 1).await[0]["state"], "done");
    // The first try ends after 15 s, and changes nothing.
    let tries = || async {
        let one = deliveries(&set.api, &hook).await.remove(0);
        (one["attempts"] == 2).then_some(one)
    };
    assert_eq!(eventually("both tries are told", tries).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_the_url_before_answers_disables_nothing() {
    let set = set().await;
    set.receiver.set("/old", Manner::Hang);
    let hook = set.hook("/old", json!({})).await;
    set.api.task("t", Some(1)).await;
    set.receiver.wait_for("/old", 1).await;
    let db = set.world.db().await;
    db.run("UPDATE webhooks SET failing_since = now() - interval '6 days', warned_at = now()")
        .await;
    let path = format!("/webhooks/{}", hook["id"]);
    let changed = json!({ "url": set.receiver.url("/new") });
    let changed = set.api.patch(&path, changed).await.expect(200);
    assert_eq!(changed["failingSince"], Value::Null, "another URL is another endpoint");
    // The try at the old one fails after 15 s; the next one is sent to the new one.
    set.receiver.wait_for("/new", 1).await;
    assert_eq!(set.settled(&hook, 1).await[0]["state"], "done");
    assert_eq!(set.api.get(&path).await.expect(200)["enabled"], true);
}
