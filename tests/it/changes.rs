//! The change feed: nothing is skipped, nothing told twice, and each task's versions come in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use taskd::feed::{self, Ended, Feed, Follower as Listener, Since, View};
use taskd::ground::shutdown::Shutdown;
use taskd::ground::tls::Tls;
use taskd::store::{PostgresUrl, Store};

use crate::access::House;
use taskd_testing::{Answer, Api, Db, Follower, World, eventually};

/// Every entry from there on, and the cursor after them.
async fn all(api: &Api, since: &str, limit: usize) -> (Vec<Value>, String) {
    let (mut found, mut cursor) = (Vec::new(), since.to_owned());
    loop {
        let since = if cursor.is_empty() { String::new() } else { format!("&since={cursor}") };
        let page = api.get(&format!("/changes?limit={limit}{since}")).await.expect(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        found.extend(data.iter().cloned());
        let next = page["nextCursor"].as_str().unwrap().to_owned();
        if data.is_empty() {
            return (found, next);
        }
        cursor = next;
    }
}

/// What an entry says, in short.
fn short(entry: &Value) -> (String, i64, i64) {
    let number = |name: &str| entry[name].as_i64().unwrap();
    (entry["type"].as_str().unwrap().to_owned(), number("taskId"), number("version"))
}

fn shorts(entries: &[Value]) -> Vec<(String, i64, i64)> {
    entries.iter().map(short).collect()
}

fn told(name: &str, task: i64, version: i64) -> (String, i64, i64) {
    (name.to_owned(), task, version)
}

/// A statement that writes events as a transaction of a writer does: each of a task of its own.
fn insert(first: i64, count: i64) -> String {
    format!(
        "INSERT INTO events (id, type, task_id, task_version, payload, occurred_at, actor_kind)
         SELECT gen_random_uuid(), 'TASK_CREATED', id, 1, jsonb_build_object('id', id, 'userId', null),
                now(), 'system'
         FROM generate_series({first}, {first} + {count} - 1) AS id"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_and_begin_where_they_are_told() {
    let world = World::embedded();
    let serve = world.serve().await;
    let api = serve.api();
    api.task("one", None).await;
    api.task("two", None).await;
    let (_, cursor) = all(&api, "", 100).await;
    api.patch("/tasks/1", json!({ "title": "first" })).await.expect(200);
    api.delete("/tasks/2").await.expect(204);
    let expected = [
        told("TASK_CREATED", 1, 1),
        told("TASK_CREATED", 2, 1),
        told("TASK_UPDATED", 1, 2),
        told("TASK_DELETED", 2, 2),
    ];
    for limit in [1, 2, 3, 100] {
        assert_eq!(shorts(&all(&api, "", limit).await.0), expected, "{limit}");
        assert_eq!(shorts(&all(&api, &cursor, limit).await.0), expected[2..], "{limit}");
    }
    let (entries, end) = all(&api, &cursor, 100).await;
    let task = api.get("/tasks/1").await.expect(200);
    assert_eq!(entries[0]["task"], task, "as it was committed, without what changed");
    assert_eq!(entries[0]["occurredAt"], task["updatedAt"]);
    let events = api.events().await;
    assert_eq!(entries[0]["eventId"], events[2]["eventId"]);
    // From now on there is nothing, and it stays where it is.
    let now = api.get("/changes?since=now").await.expect(200);
    assert_eq!(now["data"], json!([]));
    for cursor in [now["nextCursor"].as_str().unwrap(), &end] {
        assert_eq!(all(&api, cursor, 100).await.0, [] as [Value; 0]);
    }
    api.task("three", None).await;
    for cursor in [now["nextCursor"].as_str().unwrap(), &end] {
        assert_eq!(shorts(&all(&api, cursor, 100).await.0), [told("TASK_CREATED", 3, 1)]);
    }
    let some = api.get("/changes?types=TASK_DELETED,TASK_UPDATED").await.expect(200);
    assert_eq!(shorts(some["data"].as_array().unwrap()), expected[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_meant_is_refused() {
    let world = World::embedded();
    let serve = world.serve().await;
    let torn = BASE64_URL_SAFE_NO_PAD.encode("[\"x\",1,[1,[],1],null]");
    for (query, part) in [
        ("since=yesterday", "since"),
        ("since=", "since"),
        (&*format!("since={torn}"), "since"),
        ("types=TASK_MOVED", "TASK_CREATED"),
        ("types=", "types"),
        ("types=TASK_CREATED,", "types"),
        ("limit=0", "1000"),
        ("limit=1001", "1000"),
        ("cursor=x", "cursor"),
    ] {
        for path in ["/changes", "/changes/stream"] {
            let refused = serve.api().get(&format!("{path}?{query}")).await.expect(400);
            // A stream has no limit.
            let part = if path != "/changes" && query.contains("limit") { "limit" } else { part };
            assert!(refused.to_string().contains(part), "{path} {query}: {refused}");
        }
    }
    // No number that a client makes up is an error of ours.
    let now = serve.api().get("/changes?since=now").await.expect(200);
    let cursor = now["nextCursor"].as_str().unwrap();
    for number in [i64::MIN, -5, -1, i64::MAX - 1, i64::MAX] {
        for place in ["/2/0", "/2/1/0", "/2/2", "/2/4", "/3/0/0", "/3/0/2", "/3/1", "/3/2"] {
            let made_up = forged(cursor, |parts| {
                parts[2][1] = json!([7]);
                parts[3] = json!([parts[2].clone(), 1, 1]);
                *parts.pointer_mut(place).unwrap() = json!(number);
            });
            for path in ["/changes", "/changes/stream"] {
                let request = serve.api().request("GET", &format!("{path}?since={made_up}"));
                let status = request.send().await.unwrap().status().as_u16();
                assert!([200, 400, 410].contains(&status), "{path} {place} {number}: {status}");
            }
        }
    }
    let request = serve.api().request("GET", "/changes/stream").header("Last-Event-ID", "x");
    let refused = Answer::of(request.send().await.unwrap()).await.expect(400);
    assert!(refused["errors"].to_string().contains("Last-Event-ID"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_member_follows_its_own_tasks_and_loses_those_that_are_given_away() {
    let house = House::new().await;
    let (admin, member) = (&house.admin, &house.member);
    let other = admin.user("other@example.com").await;
    let task = |title: &str, user: Option<i64>| json!({ "title": title, "userId": user });
    admin.post("/tasks", task("nobody's", None)).await.expect(201);
    admin.post("/tasks", task("the member's", Some(house.member_id))).await.expect(201);
    admin.post("/tasks", task("another's", Some(other))).await.expect(201);
    admin.patch("/tasks/2", json!({ "userId": other })).await.expect(200);
    admin.patch("/tasks/2", json!({ "title": "elsewhere" })).await.expect(200);
    admin.patch("/tasks/3", json!({ "userId": house.member_id })).await.expect(200);
    member.delete("/tasks/3").await.expect(204);
    let expected = [
        told("TASK_CREATED", 2, 1),
        told("removed", 2, 2),
        told("TASK_UPDATED", 3, 2),
        told("TASK_DELETED", 3, 3),
    ];
    let (seen, _) = all(member, "", 2).await;
    assert_eq!(shorts(&seen), expected);
    assert_eq!(seen[1]["task"], Value::Null);
    assert_eq!(seen[2]["task"]["title"], "another's");
    assert!(!Value::from(seen).to_string().contains("elsewhere"));
    assert_eq!(all(admin, "", 100).await.0.len(), 7);
    let mut follower = Follower::open(member, "/changes/stream", None).await;
    let streamed: Vec<Value> = follower.take(4).await.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(shorts(&streamed), expected);
    // The stream ends with its token.
    let token = member.post("/tokens", json!({ "name": "t" })).await.expect(201);
    let guest = house.anonymous().with_token(token["token"].as_str().unwrap());
    let mut follower = Follower::open(&guest, "/changes/stream?since=now", None).await;
    member.delete(&format!("/tokens/{}", token["id"])).await.expect(204);
    follower.until_the_end().await;
    assert_eq!(guest.get("/changes").await.code(401), "invalid_token");
    assert_eq!(house.anonymous().get("/changes").await.code(401), "unauthenticated");
}

/// Changes a cursor's parts.
fn forged(cursor: &str, change: impl FnOnce(&mut Value)) -> String {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).unwrap();
    let mut parts: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut parts);
    BASE64_URL_SAFE_NO_PAD.encode(parts.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_cursor_of_what_is_no_more_is_gone() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let serve = world.serve().await;
    let api = serve.api();
    api.task("one", None).await;
    let (_, cursor) = all(&api, "", 100).await;
    let other = elsewhere.serve().await;
    let foreign = other.api().get("/changes?since=now").await.expect(200);
    let foreign = foreign["nextCursor"].as_str().unwrap();
    for path in ["/changes", "/changes/stream"] {
        let gone = api.get(&format!("{path}?since={foreign}")).await;
        assert_eq!(gone.code(410), "cursor_gone");
    }
    // After a failover that lost nothing it goes on; the timeline is another.
    let failed_over = forged(&cursor, |parts| parts[1] = json!(99));
    api.task("two", None).await;
    let (entries, after) = all(&api, &failed_over, 100).await;
    assert_eq!(shorts(&entries), [told("TASK_CREATED", 2, 1)]);
    assert_eq!(all(&api, &after, 100).await.0.len(), 0);
    // One that has lost the newest event does not.
    let db = world.db().await;
    let lost = forged(&after, |parts| parts[1] = json!(99));
    db.run("DELETE FROM events WHERE task_id = 2").await;
    let gone = api.get(&format!("/changes?since={lost}")).await.expect(410);
    assert!(gone["detail"].as_str().unwrap().contains("since=now"), "{gone}");
    assert_eq!(api.get(&format!("/changes?since={after}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_cursor_is_gone_when_what_it_has_not_seen_was_purged() {
    let world = World::new().await;
    let (serve, _work) = tokio::join!(world.serve(), world.work("w", &[]));
    let api = serve.api();
    api.task("one", None).await;
    let (_, cursor) = all(&api, "", 100).await;
    api.task("two", None).await;
    let (_, seen) = all(&api, &cursor, 100).await;
    let db = world.db().await;
    eventually("all is done", || async {
        (db.count("events WHERE published_at IS NOT NULL").await == 2).then_some(())
    })
    .await;
    db.run(
        "UPDATE events SET published_at = published_at - interval '40 days',
                id = ('01900000' || substr(id::text, 9))::uuid",
    )
    .await;
    let purged = world.run(&["purge", "--once", "--quiet"]).await;
    purged.succeeded();
    assert_eq!(db.count("events").await, 0);
    // Its time is that of the purge's horizon: long ago. These cursors are of today.
    assert_eq!(all(&api, &seen, 100).await.0.len(), 0);
    let old = |cursor: &str| forged(cursor, |parts| parts[2][4] = json!(0));
    for cursor in [old(&cursor), old(&seen)] {
        let gone = api.get(&format!("/changes?since={cursor}")).await.expect(410);
        assert!(gone["detail"].as_str().unwrap().contains("purged"), "{gone}");
    }
    // Whoever begins now is told what there is.
    api.task("three", None).await;
    assert_eq!(shorts(&all(&api, "", 1).await.0), [told("TASK_CREATED", 3, 1)]);
    assert_eq!(shorts(&all(&api, &seen, 1).await.0), [told("TASK_CREATED", 3, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_committed_late_comes_late_and_is_not_skipped() {
    let world = World::new().await;
    let (serve, second) = tokio::join!(world.serve(), world.serve());
    let api = serve.api();
    let mut follower = Follower::open(&api, "/changes/stream?since=now", None).await;
    let late = world.db().await;
    late.run(&format!("BEGIN; {}", insert(1_001, 1))).await;
    let early = world.db().await;
    early.run(&insert(2_001, 1)).await;
    let (entries, cursor) = all(&api, "", 100).await;
    assert_eq!(shorts(&entries), [told("TASK_CREATED", 2_001, 1)]);
    // An event of a bulk, of which a page takes only a part, before and after the late one.
    early.run(&insert(3_001, 250)).await;
    let page = api.get(&format!("/changes?limit=100&since={cursor}")).await.expect(200);
    late.run("COMMIT").await;
    let middle = page["nextCursor"].as_str().unwrap();
    // The other instance goes on from there.
    let (rest, _) = all(&second.api(), middle, 100).await;
    let mut tasks: Vec<i64> = rest.iter().map(|entry| short(entry).1).collect();
    assert_eq!(tasks.last(), Some(&1_001));
    tasks.pop();
    assert_eq!(tasks, (3_101..3_251).collect::<Vec<i64>>());
    let streamed: Vec<i64> =
        follower.take(252).await.iter().map(|(_, entry)| short(entry).1).collect();
    let mut expected: Vec<i64> = [2_001].into_iter().chain(3_001..3_251).collect();
    expected.push(1_001);
    let mut sorted = streamed.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    // From the id of any event, the same comes after it.
    let (mut again, _) = all(&api, "", 1_000).await;
    again.retain(|entry| short(entry).1 != 1_001);
    assert_eq!(again.len(), 251);
}

/// What one follower was told: the ids of events, and of each task its versions.
type Told = Vec<(String, i64, i64)>;

fn check(told: &Told, expected: &HashMap<String, (i64, i64)>, who: &str) {
    let mut versions: BTreeMap<i64, i64> = BTreeMap::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (id, task, version) in told {
        *seen.entry(id).or_default() += 1;
        let before = versions.insert(*task, *version).unwrap_or_default();
        assert!(*version > before, "{who}: task {task} has version {version} after {before}");
        assert_eq!(expected.get(id), Some(&(*task, *version)), "{who}: {id}");
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{who} was told twice: {twice:?}");
    let missing: Vec<_> =
        expected.iter().filter(|(id, _)| !seen.contains_key(id.as_str())).collect();
    assert!(missing.is_empty(), "{who} was not told {missing:?}");
}

fn entry_of(entry: &Value) -> (String, i64, i64) {
    let (_, task, version) = short(entry);
    (entry["eventId"].as_str().unwrap().to_owned(), task, version)
}

/// Writers commit out of order, some after long; followers of two instances break off and come again, by
/// pages of any size and by streams.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn followers_are_told_everything_once_however_writers_commit() {
    const WRITERS: u64 = 6;
    const TRANSACTIONS: u64 = 60;
    const FOLLOWERS: u64 = 6;
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let apis = [one.api(), two.api()];
    apis[0].task("before", None).await;
    let writing = (0..WRITERS).map(|writer| {
        let (db, api) = (world.db(), apis[(writer % 2) as usize].clone());
        async move { write(db.await, api, writer, TRANSACTIONS).await }
    });
    let ended = Arc::new(AtomicBool::new(false));
    let following: Vec<_> = (0..FOLLOWERS)
        .map(|number| tokio::spawn(follow(apis.clone(), number, ended.clone())))
        .collect();
    futures_util::future::join_all(writing).await;
    let db = world.db().await;
    let mut expected = HashMap::new();
    for row in db.rows("SELECT id, task_id, task_version FROM events WHERE NOT is_repetition").await
    {
        let number = |name: &str| row[name].as_i64().unwrap();
        let id = row["id"].as_str().unwrap().to_owned();
        expected.insert(id, (number("task_id"), number("task_version")));
    }
    assert!(expected.len() > 400, "{}", expected.len());
    ended.store(true, Ordering::Relaxed);
    for (number, follower) in following.into_iter().enumerate() {
        check(&follower.await.unwrap(), &expected, &number.to_string());
    }
}

/// Small numbers that are the same on each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Transactions of many kinds: short and long, with few and many events, committed and not; and changes of
/// one task by all.
async fn write(db: Db, api: Api, writer: u64, transactions: u64) {
    let mut dice = Dice(writer + 1);
    for number in 0..transactions {
        let first = 1_000_000 * (writer as i64 + 1) + 1_000 * number as i64;
        match dice.next(6) {
            0 => {
                let title = json!({ "title": format!("{writer} {number}") });
                assert!([200, 409].contains(&api.patch("/tasks/1", title).await.status));
            }
            1 => db.run(&insert(first, 1)).await,
            kind => {
                db.run(&format!("BEGIN; {}", insert(first, 1 + dice.next(3) as i64))).await;
                tokio::time::sleep(Duration::from_millis(dice.next(60))).await;
                db.run(&insert(first + 500, 1)).await;
                db.run(if kind == 2 { "ROLLBACK" } else { "COMMIT" }).await;
            }
        }
    }
}

async fn follow(apis: [Api; 2], number: u64, ended: Arc<AtomicBool>) -> Told {
    let mut dice = Dice(number + 100);
    let (mut found, mut cursor): (Told, Option<String>) = (Vec::new(), None);
    loop {
        let is_ending = ended.load(Ordering::Relaxed);
        let api = &apis[dice.next(2) as usize];
        if is_ending || dice.next(2) == 0 {
            let since = cursor.as_ref().map_or(String::new(), |cursor| format!("&since={cursor}"));
            let path = format!("/changes?limit={}{since}", 1 + dice.next(30));
            let page = api.get(&path).await.expect(200);
            let data = page["data"].as_array().unwrap();
            if is_ending && data.is_empty() {
                return found;
            }
            found.extend(data.iter().map(entry_of));
            cursor = page["nextCursor"].as_str().map(str::to_owned);
        } else {
            let mut stream = Follower::open(api, "/changes/stream", cursor.as_deref()).await;
            let patience = Duration::from_millis(50 + dice.next(400));
            let most = 1 + dice.next(40);
            let mut taken = 0;
            while taken < most {
                let Ok(next) = tokio::time::timeout(patience, stream.next()).await else { break };
                let (id, entry) = next.expect("the stream goes on");
                found.push(entry_of(&entry));
                cursor = Some(id);
                taken += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_stream_goes_on_elsewhere_when_its_instance_stops() {
    let world = World::new().await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let mut stream = Follower::open(&one.api(), "/changes/stream?since=now", None).await;
    two.api().task("t", None).await;
    let (id, entry) = stream.take(1).await.remove(0);
    assert_eq!(short(&entry), told("TASK_CREATED", 1, 1));
    one.signal("TERM");
    stream.until_the_end().await;
    assert_eq!(one.exit().await.code(), Some(0));
    two.api().task("u", None).await;
    let mut stream = Follower::open(&two.api(), "/changes/stream?since=now", Some(&id)).await;
    let (_, entry) = stream.take(1).await.remove(0);
    assert_eq!(short(&entry), told("TASK_CREATED", 2, 1));
    // In silence it says that it is there, and where it has got to.
    let comment = stream.comment().await;
    assert!(comment.contains("still here"), "{comment}");
    assert!(!stream.last_id().is_empty());
}

/// The reader of a process keeps a bounded number of batches for all who listen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_takes_too_little_is_cut_off_with_its_cursor_and_goes_on_from_there() {
    const KEPT: usize = 4;
    const JOINED: i64 = 5;
    const ALL: i64 = JOINED + 4 * KEPT as i64;
    let world = World::new().await;
    let db = world.db().await;
    let url = PostgresUrl::parse(world.database_url(), &Tls::default()).unwrap();
    let store = Store::new(&url, 2).unwrap();
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let feed = Feed::bounded(store.clone(), shutdown.clone(), Duration::from_millis(1), KEPT);
    let open = |since| Listener::new(feed.clone(), store.clone(), since, View::default());
    let (mut slow, _) = open(Since::Now).await.unwrap();
    let (mut quick, _) = open(Since::Now).await.unwrap();
    let mut told = [String::new(), String::new()];
    let mut hear = async |follower: &mut Listener, number: usize| {
        let next = tokio::time::timeout(Duration::from_secs(30), follower.next()).await;
        match next.unwrap_or_else(|_| panic!("{number} hears nothing more after {told:?}")) {
            Ok(text) => {
                told[number].push_str(std::str::from_utf8(&text).unwrap());
                true
            }
            Err(Ended) => false,
        }
    };
    // After a few events both take what the reader says.
    for task in 1..=JOINED {
        db.run(&insert(task, 1)).await;
        assert!(hear(&mut slow, 0).await && hear(&mut quick, 1).await);
    }
    // Each is a batch of its own, since the one before was heard.
    for task in JOINED + 1..=ALL {
        db.run(&insert(task, 1)).await;
        assert!(hear(&mut quick, 1).await);
    }
    while hear(&mut slow, 0).await {}
    let cursor = feed::read(&slow.cursor()).unwrap();
    let (_, rest) = open(Since::After(Box::new(cursor))).await.unwrap();
    told[0].push_str(std::str::from_utf8(&rest).unwrap());
    let tasks = |text: &str| -> Vec<i64> {
        let entries = text.lines().filter_map(|line| line.strip_prefix("data: "));
        entries.map(|entry| short(&serde_json::from_str(entry).unwrap()).1).collect()
    };
    let all: Vec<i64> = (1..=ALL).collect();
    assert_eq!((tasks(&told[0]), tasks(&told[1])), (all.clone(), all));
    shutdown.stop();
}
