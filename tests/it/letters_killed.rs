//! Dead letters while whoever moves them is killed.

use std::collections::HashSet;

use taskd_testing::{Smtp, Verdict, World, eventually};

const LETTERS: usize = 200;
const KILLS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_mover_that_is_killed_loses_no_letter_and_doubles_none() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let serve = world.serve().await;
    let api = serve.api();
    for number in 0..LETTERS {
        api.task(&format!("t{number}"), Some(1)).await;
    }
    let db = world.db().await;
    for number in 0..KILLS {
        let before = db.count("dead_letters").await;
        let work = world.work_mailing(&format!("w{number}"), &smtp).await;
        // In the middle of it: rows are being written, and letters acked.
        eventually("letters are moved", || async {
            let moved = db.count("dead_letters").await;
            (moved > before || moved == LETTERS as i64).then_some(())
        })
        .await;
        work.kill_9().await;
    }
    let _work = world.work_mailing("last", &smtp).await;
    let letters = world.dead_letters(LETTERS).await;
    let events: HashSet<&str> = letters.iter().filter_map(|l| l["eventId"].as_str()).collect();
    assert_eq!(events.len(), LETTERS);
    let amqp = world.amqp().await;
    eventually("the queue is empty", || async {
        (amqp.count(&world.dlq).await == Some(0)).then_some(())
    })
    .await;
    assert_eq!(db.count("dead_letters").await, LETTERS as i64);
}
