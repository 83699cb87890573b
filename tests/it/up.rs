//! `taskd up`: everything in one process, with nothing installed, or with any mixture.

use serde_json::{Value, json};

use crate::harness::{Api, Process, World, eventually};

async fn activity(api: &Api, task: i64) -> usize {
    let answer = api.get(&format!("/tasks/{task}/activity")).await;
    if answer.status == 200 { answer.json()["data"].as_array().unwrap().len() } else { 0 }
}

fn mails(world: &World) -> usize {
    let files = std::fs::read_dir(world.directory.join(".taskd/mail")).unwrap();
    files
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml"))
        .count()
}

async fn tasks(api: &Api) -> i64 {
    api.get("/tasks?total=true&limit=1").await.expect(200)["total"].as_i64().unwrap()
}

async fn stopped(process: &Process) {
    process.signal("INT");
    assert!(process.exit().await.success(), "{}", process.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_installed_a_task_has_its_activity_and_its_mail() {
    let world = World::alone();
    let up = world.up(&[], &[]).await;
    let api = up.api();
    api.task("Write Docs", Some(1)).await;
    eventually("the activity is written", || async {
        (activity(&api, 1).await == 1).then_some(())
    })
    .await;
    eventually("the mail is written", || async { (mails(&world) == 1).then_some(()) }).await;
    assert_eq!(api.get("/readyz").await.expect(200)["status"], "ok");
    // Never stale: each read comes after an answered write.
    for round in 0..20 {
        api.patch("/tasks/1", json!({ "title": format!("{round}") })).await.expect(200);
        assert_eq!(api.get("/tasks/1").await.expect(200)["title"], format!("{round}"));
        assert_eq!(api.get("/tasks").await.expect(200)["data"][0]["title"], format!("{round}"));
    }
    assert!(api.metric("taskd_cache_reads_total", "miss").await > 0.0);

    // A second one on the same data is told who has it.
    let refused = world.run(&["up"]).await.exited(1);
    assert!(refused.stderr.contains(&up.pid().to_string()), "{}", refused.stderr);
    stopped(&up).await;

    let again = world.up(&[], &[]).await;
    assert_eq!(tasks(&again.api()).await, 1);
    stopped(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    let world = World::alone();
    let mut created = Vec::new();
    for _ in 0..2 {
        let up = world.up(&[], &[]).await;
        let api = up.api();
        for number in 0..60 {
            created.push(api.task(&format!("{number}"), Some(1)).await["id"].as_i64().unwrap());
        }
        up.kill_9().await;
    }
    let up = world.up(&[], &[]).await;
    let api = up.api();
    assert_eq!(tasks(&api).await as usize, created.len());
    for task in created.iter().copied() {
        eventually("each task has one entry", || async {
            (activity(&api, task).await == 1).then_some(())
        })
        .await;
    }
    eventually("each task has its mail", || async {
        (mails(&world) == created.len()).then_some(())
    })
    .await;
    eventually("every event is marked as published", || async {
        (api.metric("taskd_events_unpublished", "").await == 0.0).then_some(())
    })
    .await;
    stopped(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_replayed_in_the_running_process() {
    let world = World::alone();
    let up = world.up(&["--simulate-failure", "email=1"], &[]).await;
    up.api().task("t", Some(1)).await;
    let dlq = async |arguments: &[&str]| -> Value {
        let arguments = [&["dlq"], arguments, &["--json"]].concat();
        world.run(&arguments).await.succeeded().json()
    };
    let letters = eventually("the mail is given up", || async {
        let letters = dlq(&["list"]).await;
        (letters.as_array().unwrap().len() == 1).then_some(letters)
    })
    .await;
    let attempts: Vec<&Value> = letters[0]["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| &failure["attempt"])
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(activity(&up.api(), 1).await, 1);
    let id = letters[0]["id"].as_str().unwrap();
    world.run(&["dlq", "show", "nothing"]).await.exited(1);
    stopped(&up).await;
    world.run(&["dlq", "list"]).await.exited(2);

    // It is still there after a restart, and what is done is not done again.
    let up = world.up(&[], &[]).await;
    assert_eq!(dlq(&["replay", id]).await["letters"].as_array().unwrap().len(), 1);
    eventually("the mail is written", || async { (mails(&world) == 1).then_some(()) }).await;
    assert_eq!(dlq(&["list"]).await, json!([]));
    assert_eq!(activity(&up.api(), 1).await, 1);
    stopped(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn any_mixture_works() {
    let world = World::new().await;
    for absent in [&["DATABASE_URL", "REDIS_URL"] as &[&str], &["RABBITMQ_URL"], &[]] {
        let data = format!("data_{}", absent.join("_"));
        let up = world.up(&["--data-dir", &data], absent).await;
        let api = up.api();
        let task = api.task("t", None).await["id"].as_i64().unwrap();
        eventually("the activity is written", || async {
            (activity(&api, task).await == 1).then_some(())
        })
        .await;
        stopped(&up).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn without_rabbitmq_many_processes_share_the_tables_of_a_database() {
    const AT_ONCE: usize = 50;
    let world = World::new().await;
    let without = async |arguments: &[&str]| {
        let mut command = world.command(arguments, &[]);
        command.env_remove("RABBITMQ_URL");
        Process::start(command, &arguments.join(" "))
    };
    let mut serve = without(&["serve"]).await;
    serve.wait_for_address("serving").await;
    let mut works =
        [without(&["work", "--name", "a"]).await, without(&["work", "--name", "b"]).await];
    for work in &mut works {
        work.wait_for_address("health and metrics").await;
        work.log("it consumes", |line| line["message"] == "consuming").await;
    }
    let api = serve.api();
    // One worker can be quick enough for a few: go on until each has done something.
    let mut created = 0;
    loop {
        let creating = (0..AT_ONCE).map(|number| {
            let api = api.clone();
            async move { api.task(&format!("{number}"), None).await }
        });
        futures_util::future::join_all(creating).await;
        created += AT_ONCE;
        let done =
            async |work: &Process| work.api().metric("taskd_deliveries_total", "processed").await;
        if done(&works[0]).await > 0.0 && done(&works[1]).await > 0.0 {
            break;
        }
        assert!(created < 10_000, "one worker does it all");
    }
    let db = world.db().await;
    eventually("every task has its entry", || async {
        (db.count("task_activity").await as usize == created).then_some(())
    })
    .await;
    let distinct = db.number("SELECT count(DISTINCT event_id) FROM task_activity").await;
    assert_eq!(distinct as usize, created);
    eventually("the queue is empty", || async {
        (db.count("queued_messages").await == 0).then_some(())
    })
    .await;
    for process in works.iter().chain([&serve]) {
        process.signal("TERM");
        assert!(process.exit().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_for_this_machine_alone() {
    let world = World::alone();
    let refused = world.run(&["up", "--host", "0.0.0.0"]).await.exited(2);
    assert!(refused.stderr.contains("HOST"), "{}", refused.stderr);
}
