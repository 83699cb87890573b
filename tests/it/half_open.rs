//! A peer that is gone without a word: the connection stays, and nobody answers.

use std::time::Duration;

use taskd_testing::{Proxy, World, eventually, eventually_within};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_statement_whose_answer_never_comes_is_given_up_and_made_again() {
    let world = World::new().await;
    let (proxy, through) = Proxy::before(world.database_url(), 5432).await;
    let serve = world.serve().await;
    let _work = world.work("one", &[("DATABASE_URL", &through)]).await;
    let db = world.db().await;

    // The worker's statement is under way when its connection begins to swallow everything.
    let blocker = world.db().await;
    blocker.run("BEGIN; LOCK TABLE task_activity").await;
    serve.api().task("t", Some(1)).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND datname = current_database()";
    eventually("the statement waits", || async { (db.number(waiting).await > 0).then_some(()) })
        .await;
    proxy.half_open();
    blocker.run("ROLLBACK").await;
    eventually("it has committed", || async {
        (db.count("task_activity").await == 1).then_some(())
    })
    .await;
    eventually_within(
        Duration::from_secs(60),
        "the worker goes on by a new connection",
        || async {
            let done = "processed_messages WHERE effect = 'email' AND state = 'done'";
            (db.count(done).await == 1).then_some(())
        },
    )
    .await;
    assert_eq!(db.count("task_activity").await, 1);
}
