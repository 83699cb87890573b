//! The pictures of docs/console.md, taken by scripts/pictures of pages with something on them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use taskd_testing::{Api, Manner, Receiver, Smtp, Verdict, World, eventually};

use crate::browser::Browser;
use crate::pages::allow_webhooks;
use crate::people::{ADMIN, Instance, PASSWORD};

/// What the tasks in the pictures are called.
const TITLES: [(&str, &str); 9] = [
    ("Order soil for the raised beds", "pending"),
    ("Call the plumber about the boiler", "in-progress"),
    ("Répondre à la lettre de Zoé", "in-progress"),
    ("Renew the library card", "completed"),
    ("Plan the hike on Sunday 🥾", "pending"),
    ("Fix the bicycle's rear brake", "pending"),
    ("Send the invoice for October", "completed"),
    ("Buy tickets for the concert", "completed"),
    ("Back up the photographs", "in-progress"),
];

/// What an installation may have done in the hour before: lines in pictures need some minutes.
const AN_HOUR: &str = "
    INSERT INTO activity_minutes (minute, created, published, processed, retried, dead, road)
    SELECT date_trunc('minute', now()) - ago * interval '1 minute', n, n, 2 * n,
           CASE WHEN ago < 9 THEN 14 - ago ELSE ago % 13 / 12 END, CASE WHEN ago IN (2, 3) THEN 1 ELSE 0 END,
           array_fill(0::bigint, ARRAY[5]) || ARRAY[n / 2, n, n / 3, n / 9] || array_fill(0::bigint, ARRAY[7])
    FROM (SELECT ago, (60 + 25 * sin(ago / 7.0) + ago * 37 % 17)::bigint AS n
          FROM generate_series(1, 58) AS ago) AS minutes";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn pictures() {
    let mut world = World::new().await;
    allow_webhooks(&mut world);
    // Without a folder it only shows that they can be taken.
    let folder = std::env::var("CONSOLE_PICTURES").map_or(world.directory.clone(), PathBuf::from);
    let smtp = Smtp::start().await;
    let instance = Instance::start(&world).await;
    let work = [("SMTP_URL", &*smtp.url()), ("EFFECT_BREAKER", "off")];
    let _work = world.work("worker-1", &work).await;
    let api = &instance.api;
    for name in ["House", "Garden", "Letters"] {
        api.post("/categories", json!({ "name": name })).await.expect(201);
    }
    for (number, (title, status)) in TITLES.into_iter().enumerate() {
        let given = json!({ "title": title, "status": status, "userId": instance.member,
            "categoryId": number % 3 + 1, "dueAt": format!("2030-06-{:02}T16:00:00Z", number + 10) });
        api.post("/tasks", given).await.expect(201);
    }
    smtp.wait_for(TITLES.len()).await;
    let receiver = Receiver::start().await;
    let hooks = webhooks(api, &receiver).await;
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let mut task = Value::Null;
    for title in ["Water the tomatoes", "Return the ladder", "Paint the fence"] {
        task = api.task(title, Some(instance.member)).await["id"].take();
    }
    let letters = api.letters(3).await;
    let delivery = failed(api, &hooks).await;
    let [event, group, letter] =
        ["eventId", "fingerprint", "id"].map(|name| letters[0][name].as_str().unwrap());

    world.db().await.run(AN_HOUR).await;
    let browser = Browser::start(&instance.base).await;
    browser.resize(1280, 705).await;
    let pages = [
        ("overview", String::new()),
        ("tasks", "/tasks".to_owned()),
        ("task", format!("/tasks/{task}")),
        ("task-new", "/tasks/new".to_owned()),
        ("task-edit", format!("/tasks/{task}/edit")),
        ("board", "/board".to_owned()),
        ("event", format!("/events/{event}")),
        ("events", "/events".to_owned()),
        ("dead-letters", "/dead-letters".to_owned()),
        ("group", format!("/dead-letters/groups/{group}")),
        ("letters", "/dead-letters/letters".to_owned()),
        ("letter", format!("/dead-letters/letters/{letter}")),
        ("letter-edit", format!("/dead-letters/letters/{letter}/edit")),
        ("effects", "/effects".to_owned()),
        ("processes", "/processes".to_owned()),
        ("webhooks", "/webhooks".to_owned()),
        ("webhook-new", "/webhooks/new".to_owned()),
        ("webhook", hooks),
        ("delivery", delivery),
        ("audit", "/audit".to_owned()),
        ("doctor", "/doctor".to_owned()),
        ("configuration", "/configuration".to_owned()),
        ("users", "/users".to_owned()),
        ("user", format!("/users/{}", instance.member)),
        ("categories", "/categories".to_owned()),
        ("account", "/account".to_owned()),
    ];
    browser.open("/sign-in").await;
    take(&browser, &folder, "sign-in").await;
    browser.sign_in(ADMIN, PASSWORD).await;
    // The last minute is in the history ten seconds after it was counted.
    eventually("the history has something", || async {
        let overview = api.get("/overview?minutes=60").await.expect(200);
        let dead = overview["history"].as_array()?.iter().any(|minute| minute["dead"] != 0);
        dead.then_some(())
    })
    .await;
    for (name, page) in &pages {
        // The queues of a test have names that nobody wants to read.
        browser.resize(1280, if *name == "overview" { 705 } else { 860 }).await;
        browser.open(page).await;
        browser.find("main h1").await;
        take(&browser, &folder, name).await;
    }
    replay(&browser, &folder, group, &smtp).await;
    browser.prefer("dark").await;
    browser.resize(1280, 705).await;
    browser.open("").await;
    take(&browser, &folder, "overview-dark").await;
    browser.resize(390, 844).await;
    browser.open("/board").await;
    take(&browser, &folder, "board-narrow").await;
}

/// Makes webhooks, and returns the page of one that fails from now on.
async fn webhooks(api: &Api, receiver: &Receiver) -> String {
    let mut page = String::new();
    for (path, description, more) in [
        ("/hooks/calendar", "The calendar of the house", json!({ "filter": { "categoryId": 1 } })),
        (
            "/hooks/invoices",
            "Invoices",
            json!({ "eventTypes": ["TASK_UPDATED"], "enabled": false }),
        ),
        (
            "/hooks/chat",
            "New and changed tasks in the chat",
            json!({ "rate": "60/1m", "ordered": true }),
        ),
    ] {
        let mut given = json!({ "url": receiver.url(path), "description": description });
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        page = format!("/webhooks/{}", api.post("/webhooks", given).await.expect(201)["id"]);
    }
    let since = json!({ "since": "2020-01-01T00:00:00Z" });
    api.post(&format!("{page}/replay-history"), since).await.expect(200);
    receiver.wait_for("/hooks/chat", TITLES.len()).await;
    receiver.set("/hooks/chat", Manner::Status(503));
    receiver.say("/hooks/chat", "The chat is being updated. Come back in a few minutes.");
    page
}

/// The page of a delivery to this webhook that was tried twice.
async fn failed(api: &Api, page: &str) -> String {
    eventually("a delivery was tried twice", || async {
        let found = api.get(&format!("{page}/deliveries")).await.expect(200);
        let tried = found["data"].as_array()?.iter().find(|one| one["attempts"] == 2)?;
        Some(format!("{page}/deliveries/{}", tried["id"]))
    })
    .await
}

/// Replays the letters of a cause that is mended, with a picture of the dry run, of the replay once
/// it is done, and of the list of replays.
async fn replay(browser: &Browser, folder: &Path, group: &str, smtp: &Smtp) {
    smtp.set(Verdict::Accept);
    browser.open(&format!("/dead-letters/groups/{group}")).await;
    browser.click("button[name=dryRun]").await;
    browser.sees("main", "Nothing has happened yet.").await;
    take(browser, folder, "dry-run").await;
    browser.fill("input[name=canary]", "1").await;
    browser.click("form button.main").await;
    browser.arrives("/console/dead-letters/replays/").await;
    browser.sees(".badge", "done").await;
    browser.sees(".card", "Done3").await;
    take(browser, folder, "replay").await;
    browser.open("/dead-letters/replays").await;
    take(browser, folder, "replays").await;
}

/// The page on which a demo is broken, with its worker stopped.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: scripts/test"]
async fn pictures_of_the_demo() {
    let world = World::demo();
    let folder = std::env::var("CONSOLE_PICTURES").map_or(world.directory.clone(), PathBuf::from);
    let mut demo = world.start(&["up", "--demo"], &[]);
    demo.wait_for_address("up").await;
    let browser = Browser::start(&demo.api().base).await;
    browser.resize(1280, 1000).await;
    browser.open("/demo").await;
    browser.click("#fault-stop form button").await;
    browser.sees("#fault-stop .badge", "stopped").await;
    take(&browser, &folder, "demo").await;
}

async fn take(browser: &Browser, folder: &Path, name: &str) {
    let picture = browser.driver.screenshot().await.unwrap();
    std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
}
