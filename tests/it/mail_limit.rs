//! How many mails a user gets.

use taskd_testing::{Smtp, World, eventually};

/// As many at once as the rate says, over all workers; the others later, with no attempt counted,
/// and each once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn mails_over_the_limit_go_out_later_without_counting_an_attempt() {
    const TASKS: usize = 12;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let api = serve.api();
    let (user, other) = (api.user("ada@example.com").await, api.user("eve@example.com").await);
    for number in 1..=TASKS {
        api.task(&format!("t{number}"), Some(user)).await;
    }
    api.task("another's", Some(other)).await;
    // Nothing more for an hour.
    let url = smtp.url();
    let strict = [("SMTP_URL", url.as_str()), ("MAIL_LIMIT", "5/5h")];
    let (one, two) = tokio::join!(world.work("one", &strict), world.work("two", &strict));
    let parked = async || {
        one.api().metric("taskd_deliveries_total", "\"parked\"").await
            + two.api().metric("taskd_deliveries_total", "\"parked\"").await
    };
    // Each of the others has come round more than once, and found the limit again.
    eventually("the others wait", || async { (parked().await >= 30.0).then_some(()) }).await;
    let of = |to: &str| smtp.mails().iter().filter(|mail| mail.to == to).count();
    assert_eq!((of("ada@example.com"), of("eve@example.com")), (5, 1));
    let db = world.db().await;
    assert_eq!(db.count("task_activity").await as usize, TASKS + 1, "nothing else waits");
    assert_eq!(db.count("processed_messages WHERE state = 'open'").await as usize, TASKS - 5);
    for worker in [&one, &two] {
        worker.signal("TERM");
        worker.exit().await;
    }

    // What was counted is forgotten, as time would do it.
    db.run("DELETE FROM mail_limits").await;
    let loose = [("SMTP_URL", url.as_str()), ("MAIL_LIMIT", "3/1s")];
    let three = world.work("three", &loose).await;
    smtp.wait_for(TASKS + 1).await;
    eventually("every effect is recorded", || async {
        (db.count("processed_messages WHERE state = 'done'").await as usize == 2 * (TASKS + 1))
            .then_some(())
    })
    .await;
    assert_eq!(smtp.distinct_ids().len(), smtp.mails().len());
    let attempts: Vec<_> =
        three.logs().into_iter().filter_map(|line| line["attempt"].as_u64()).collect();
    assert!(attempts.iter().all(|attempt| *attempt == 1), "{attempts:?}");
    let dead = world.run(&["dlq", "list", "--json"]).await.succeeded();
    assert_eq!(dead.stdout.trim(), "[]");
}
