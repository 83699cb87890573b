//! Dead letters, for operators.

use serde_json::{Value, json};

use taskd_testing::{Raw, Smtp, Verdict, World};

async fn waits(world: &World, letters: u32) {
    world.dead_letters(letters as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn letters_are_listed_and_shown_as_text_and_as_json() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, _work, letter) = world.with_a_dead_letter(&smtp).await;
    let (id, event) = (letter["id"].as_str().unwrap(), letter["eventId"].as_str().unwrap());

    let listed = world.run(&["dlq", "list"]).await.succeeded().stdout;
    for part in [id, "TASK_CREATED", "retries-exhausted", "1 of 1"] {
        assert!(listed.contains(part), "{part} is not in {listed}");
    }
    for id in [id, event] {
        let shown = world.run(&["dlq", "show", id]).await.succeeded().stdout;
        for part in [
            "retries-exhausted",
            "attempt 1  w  email: ",
            "attempt 3  w  email: ",
            "451",
            "\"title\": \"t\"",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        let shown = world.run(&["dlq", "show", id, "--json"]).await.succeeded().json();
        assert_eq!(shown[0], letter);
    }
    // Looking takes nothing away.
    waits(&world, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn an_unknown_id_exits_1_and_changes_nothing() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, _work, letter) = world.with_a_dead_letter(&smtp).await;
    for action in ["show", "replay", "discard"] {
        for id in ["no-such-id", &uuid::Uuid::now_v7().to_string()] {
            let yes: &[&str] = if action == "discard" { &["--yes"] } else { &[] };
            let arguments = [&["dlq", action, id], yes].concat();
            let refused = world.run(&arguments).await.exited(1);
            assert!(refused.stderr.contains(id), "{refused:?}");
            let refused = world.run(&[&arguments[..], &["--json"]].concat()).await.exited(1);
            refused.json();
        }
    }
    assert_eq!(world.dead_letters(1).await.remove(0), letter);
    // The known are dealt with all the same.
    let id = world.dead_letters(1).await[0]["id"].as_str().unwrap().to_owned();
    let mixed = ["dlq", "discard", "no-such-id", &id, "--yes", "--json"];
    let mixed = world.run(&mixed).await.exited(1).json();
    assert_eq!((&mixed["count"], &mixed["notFound"]), (&json!(1), &json!(["no-such-id"])));
    waits(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn replay_and_discard_want_ids_or_all_but_not_both() {
    let world = World::unmigrated().await;
    for action in ["replay", "discard"] {
        world.run(&["dlq", action]).await.exited(2);
        world.run(&["dlq", action, "--all", "x"]).await.exited(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_replayed_letter_begins_anew_with_its_history_and_runs_only_what_is_not_done() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let (_serve, work, letter) = world.with_a_dead_letter(&smtp).await;
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, 1);

    // It dies again: three more attempts, counted from one, after the three it remembers.
    let id = letter["id"].as_str().unwrap();
    let replayed = world.run(&["dlq", "replay", id, "--json"]).await.exited(1).json();
    assert_eq!((&replayed["state"], &replayed["failedAgain"]), (&json!("done"), &json!(1)));
    let again = world.dead_letters(1).await.remove(0);
    assert_eq!(again["replayOf"], id);
    let before = world.run(&["dlq", "show", id, "--json"]).await.succeeded().json();
    assert_eq!(before[0]["state"], "failed again");
    let attempts = |letter: &Value| -> Vec<i64> {
        letter["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["attempt"].as_i64().unwrap())
            .collect()
    };
    assert_eq!((&again["attempts"], attempts(&again)), (&json!(3), vec![1, 2, 3, 1, 2, 3]));
    assert_eq!(again["firstFailedAt"], letter["firstFailedAt"]);
    assert_ne!(again["id"], letter["id"]);

    smtp.set(Verdict::Accept);
    let event = letter["eventId"].as_str().unwrap();
    let replayed = world.run(&["dlq", "replay", event]).await.succeeded();
    assert!(replayed.stdout.contains("1 of 1 done, 0 failed again"), "{replayed:?}");
    assert_eq!(smtp.wait_for(1).await.len(), 1);
    let done = work.log("the success", |line| line["outcome"] == "processed").await;
    assert_eq!((&done["attempt"], &done["event_id"]), (&json!(1), &json!(event)));
    assert_eq!(db.count("task_activity").await, 1, "what was done is not done again");
    waits(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn all_letters_are_replayed_at_once() {
    const TASKS: u32 = 120;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseRecipient("user1@example.com".into()));
    let serve = world.serve().await;
    let _work = world.work_mailing("w", &smtp).await;
    for number in 0..TASKS {
        serve.api().task(&format!("t{number}"), Some(1)).await;
    }
    waits(&world, TASKS).await;
    let listed = world.run(&["dlq", "list", "--limit", "5"]).await.succeeded().stdout;
    assert!(listed.contains(&format!("5 of {TASKS}")), "{listed}");
    waits(&world, TASKS).await;

    smtp.set(Verdict::Accept);
    let replayed = world.run(&["dlq", "replay", "--all"]).await.succeeded();
    assert!(replayed.stdout.contains(&format!("{TASKS} of {TASKS} done")), "{replayed:?}");
    assert_eq!(smtp.wait_for(TASKS as usize).await.len(), TASKS as usize);
    waits(&world, 0).await;
    assert_eq!(world.db().await.count("task_activity").await, i64::from(TASKS));
    let none = world.run(&["dlq", "replay", "--all"]).await.succeeded();
    assert!(none.stdout.contains("0 dead letters selected"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn discarded_letters_are_gone_and_the_others_stay() {
    let world = World::new().await;
    let _work = world.work("w", &[]).await;
    let amqp = world.amqp().await;
    for id in ["one", "two", "three"] {
        let message =
            Raw { body: b"no event".to_vec(), message_id: Some(id.into()), ..Raw::default() };
        amqp.publish(&world.queue, message).await;
    }
    world.dead_letters(3).await;
    let refused = world.run(&["dlq", "discard", "two"]).await.exited(2);
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    let discarded =
        world.run(&["dlq", "discard", "two", "--yes", "--reason", "old"]).await.succeeded();
    assert!(discarded.stdout.contains("1 discarded"), "{discarded:?}");
    let mut left: Vec<String> = world
        .dead_letters(2)
        .await
        .iter()
        .map(|l| l["eventId"].as_str().unwrap().to_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["one", "three"]);
    let all = ["dlq", "discard", "--all", "--yes", "--json"];
    assert_eq!(world.run(&all).await.succeeded().json()["count"], 2);
    waits(&world, 0).await;
}

/// Runs a command whose output goes to a device that is always full.
async fn to_a_full_disk(world: &World, arguments: &[&str]) -> taskd_testing::Finished {
    let mut command = world.command(arguments, &[]);
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    taskd_testing::run_as_it_is(command).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn output_that_cannot_be_written_is_a_failure_and_nothing_is_lost_by_it() {
    let world = World::new().await;
    let _work = world.work("w", &[]).await;
    let amqp = world.amqp().await;
    for id in ["one", "two"] {
        let message =
            Raw { body: b"no event".to_vec(), message_id: Some(id.into()), ..Raw::default() };
        amqp.publish(&world.queue, message).await;
    }
    world.dead_letters(2).await;
    let users = ["token", "create", "--user", "ada@example.com", "--admin"];
    for arguments in [
        &["dlq", "discard", "--all", "--dry-run"] as &[&str],
        &["dlq", "list"],
        &["dlq", "show", "one"],
        &users,
        &["migrate"],
        &["migrate", "--status"],
        &["topology", "show"],
        &["purge", "--once"],
        &["--version"],
        &["dlq", "--help"],
    ] {
        let failed = to_a_full_disk(&world, arguments).await.exited(1);
        assert!(
            failed.stderr.contains("standard output can't be written"),
            "{arguments:?}: {failed:?}"
        );
    }
    world.dead_letters(2).await;
    let db = world.db().await;
    assert_eq!((db.count("tokens").await, db.count("users").await), (0, 1));
    world.token(&users[2..]).await;
    assert_eq!((db.count("tokens").await, db.count("users").await), (1, 2));

    // A reader that has gone has had what it wanted.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.command(&["dlq", "list"], &[]);
    command.stdout(writer);
    let quiet = taskd_testing::run_as_it_is(command).await.succeeded();
    assert_eq!(quiet.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn letters_are_listed_oldest_first_with_their_task_and_a_hint_at_the_rest() {
    let world = World::new().await;
    let _work = world.work("w", &[]).await;
    let amqp = world.amqp().await;
    let long = "x".repeat(1000);
    for number in 0..5 {
        let body = format!(r#"{{"type":"{long}","payload":{{"id":{number}}}}}"#);
        let id = format!("letter-{number}");
        let message = Raw { body: body.into_bytes(), message_id: Some(id), ..Raw::default() };
        amqp.publish(&world.queue, message).await;
        waits(&world, number + 1).await;
    }
    // Looking takes nothing away.
    for _ in 0..2 {
        world.run(&["dlq", "show", "letter-3"]).await.succeeded();
        let listed = world.run(&["dlq", "list", "--all", "--json"]).await.succeeded().json();
        let tasks: Vec<i64> =
            listed.as_array().unwrap().iter().map(|l| l["taskId"].as_i64().unwrap()).collect();
        assert_eq!(tasks, [0, 1, 2, 3, 4]);
    }
    let listed = world.run(&["dlq", "list", "--limit", "2"]).await.succeeded().stdout;
    assert!(listed.contains("TASK") && listed.contains("2 of 5; --all"), "{listed}");
    let rows: Vec<&str> = listed.lines().skip(1).take(2).collect();
    assert!(rows[0].contains("        0  ") && rows[1].contains("        1  "), "{listed}");
    assert!(!world.run(&["dlq", "list"]).await.succeeded().stdout.contains("--all"));
    let shown = world.run(&["dlq", "show", "letter-2"]).await.succeeded().stdout;
    assert!(shown.contains("task      2") && !shown.contains("none"), "{shown}");
    let error = shown.lines().find(|line| line.starts_with("error")).unwrap();
    assert!(error.len() < 500 || error.contains(&long), "the error is whole: {error}");
    for action in ["replay", "discard"] {
        let refused = world.run(&["dlq", action]).await.exited(2);
        assert!(
            refused.stderr.contains("--all") && refused.stderr.contains("dlq list"),
            "{refused:?}"
        );
        assert!(!refused.stderr.contains("Usage"), "{refused:?}");
    }
}

#[test]
fn scripts_say_what_they_do_without_doing_it() {
    for script in
        ["start", "load", "test", "test-nginx", "test-openapi", "test-chaos", "bench", "chaos"]
    {
        let path = format!("{}/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
        let told = std::process::Command::new("bash").args([&path, "--help"]).output().unwrap();
        let text = String::from_utf8(told.stdout).unwrap();
        assert!(
            told.status.success() && text.len() > 80 && told.stderr.is_empty(),
            "{script}: {text}"
        );
        assert!(!text.contains("#!/"), "{script}: {text}");
    }
}
