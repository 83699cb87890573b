//! What a worker does when something fails: retries, dead letters, and others who take over.

use std::time::Duration;

use serde_json::{Value, json};

use taskd_testing::{Smtp, Verdict, World, eventually, eventually_within};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mail_that_is_deferred_once_is_delivered_by_the_second_attempt() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(1));
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    let mails = smtp.wait_for(1).await;
    assert_eq!(mails.len(), 1);
    let id = mails[0].message_id.strip_suffix(".email@taskd").unwrap().to_owned();

    let retried = work.log("the retry", |line| line["outcome"] == "retried").await;
    let processed = work.log("the success", |line| line["outcome"] == "processed").await;
    for (line, attempt) in [(&retried, 1), (&processed, 2)] {
        assert_eq!(
            (&line["event_id"], &line["attempt"], &line["worker"]),
            (&json!(id), &json!(attempt), &json!("w"))
        );
    }
    assert!(retried["error"].as_str().unwrap().contains("451"), "{retried}");
    assert_eq!((&retried["next_attempt"], &retried["delay"]), (&json!(2), &json!("100ms")));
    assert_eq!(world.db().await.count("task_activity").await, 1);
    assert_eq!(work.api().metric("taskd_retries_total", "effect=\"email\"").await, 1.0);
    assert_eq!(world.open_letters().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mail_whose_answer_was_lost_is_repeated_under_the_same_id() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DropAfterDot(1));
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    work.log("the success", |line| line["outcome"] == "processed").await;
    assert_eq!((smtp.mails().len(), smtp.distinct_ids().len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_refused_mailbox_is_a_dead_letter_at_once() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseRecipient("gone@example.com".into()));
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    let api = serve.api();
    let gone = api.user("gone@example.com").await;
    api.task("for nobody", Some(gone)).await;
    api.task("for somebody", Some(1)).await;
    assert_eq!(smtp.wait_for(1).await[0].subject, "New task: for somebody");

    let letter = &world.dead_letters(1).await[0];
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("permanent-failure"), &json!(1)));
    assert_eq!(letter["type"], "TASK_CREATED");
    assert_eq!(letter["body"]["payload"]["title"], "for nobody");
    let history = letter["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    let failure = &history[0];
    assert_eq!(
        (&failure["effect"], &failure["worker"], &failure["attempt"]),
        (&json!("email"), &json!("w"), &json!(1))
    );
    assert!(failure["error"].as_str().unwrap().contains("550"), "{failure}");
    assert!(letter["error"].as_str().unwrap().contains("550"), "{letter}");
    // The rest of the event was done all the same.
    assert_eq!(world.db().await.count("task_activity").await, 2);
    assert_eq!(
        work.api().metric("taskd_dead_letters_total", "reason=\"permanent-failure\"").await,
        1.0
    );
    assert_eq!(work.api().metric("taskd_retries_total", "").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_message_out_of_retries_is_a_dead_letter_that_knows_every_attempt() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let serve = world.serve().await;
    let _workers = tokio::join!(world.work_mailing("one", &smtp), world.work_mailing("two", &smtp));
    serve.api().task("t", Some(1)).await;
    let letter = &world.dead_letters(1).await[0];
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("retries-exhausted"), &json!(3)));
    let history = letter["history"].as_array().unwrap();
    let attempts: Vec<i64> =
        history.iter().map(|failure| failure["attempt"].as_i64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 3]);
    for failure in history {
        assert!(["one", "two"].contains(&failure["worker"].as_str().unwrap()), "{failure}");
        assert!(failure["error"].as_str().unwrap().contains("451"), "{failure}");
        assert_eq!(failure["effect"], "email");
        failure["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    }
    // Both write RFC 3339, with different spellings of UTC.
    let moment =
        |at: &Value| at.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(moment(&letter["firstFailedAt"]), moment(&history[0]["at"]));
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, 1);
    assert_eq!(
        db.count("processed_messages WHERE effect = 'email' AND state <> 'open'").await,
        0,
        "no claim is left behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn another_worker_finishes_what_one_was_killed_in_the_middle_of() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let _serve = world.kill_in_mid_mail(&smtp).await;
    smtp.set(Verdict::Accept);
    let work = world.work_mailing("heir", &smtp).await;
    work.log("it waits for the lease to end", |line| line["outcome"] == "parked").await;
    // The killed worker's lease has up to 25 s to run.
    eventually_within(Duration::from_secs(60), "the mail is sent", || async {
        (smtp.mails().len() == 1).then_some(())
    })
    .await;
    let done = work.log("the success", |line| line["outcome"] == "processed").await;
    assert_eq!(done["attempt"], 1, "waiting was no attempt");
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await, 1);
    assert_eq!(db.count("processed_messages WHERE state = 'done'").await, 2);
    assert_eq!(smtp.mails().len(), 1);
    let amqp = world.amqp().await;
    eventually("the queue is empty", || async {
        (amqp.count(&world.queue).await? == 0).then_some(())
    })
    .await;
    assert_eq!(world.open_letters().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_simulated_failure_takes_the_same_road_as_a_real_one() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let smtp_url = smtp.url();
    let _work =
        world.work_with("w", &["--simulate-failure", "email=1"], &[("SMTP_URL", &smtp_url)]).await;
    serve.api().task("t", Some(1)).await;
    let letter = &world.dead_letters(1).await[0];
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("retries-exhausted"), &json!(3)));
    assert!(letter["error"].as_str().unwrap().contains("simulated"), "{letter}");
    assert_eq!(smtp.mails().len(), 0);
    assert_eq!(world.db().await.count("task_activity").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_failing_activity_is_retried_without_a_second_mail() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let smtp_url = smtp.url();
    let failing = world
        .work_with("failing", &["--simulate-failure", "activity=1"], &[("SMTP_URL", &smtp_url)])
        .await;
    serve.api().task("t", Some(1)).await;
    world.dead_letters(1).await;
    assert_eq!(smtp.mails().len(), 1);
    failing.kill_9().await;
    let _work = world.work_mailing("w", &smtp).await;
    world.run(&["dlq", "replay", "--all"]).await.succeeded();
    let db = world.db().await;
    eventually("the activity", || async { (db.count("task_activity").await == 1).then_some(()) })
        .await;
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn simulated_failures_are_refused_in_production() {
    let world = World::new().await;
    let arguments = ["work", "--simulate-failure", "email=0.5"];
    let refused = world.run_with(&arguments, &[("TASKD_ENV", "production")]).await.exited(2);
    assert!(
        refused.stderr.contains("TASKD_ENV") && refused.stderr.contains("--simulate-failure"),
        "{refused:?}"
    );
    let refused = world.run(&["work", "--simulate-failure", "sms=1"]).await.exited(2);
    assert!(refused.stderr.contains("email"), "it names what there is: {refused:?}");
}
