//! Dead letters in the console, as far as no browser is needed.

use crate::console::Visitor;
use taskd_testing::{Raw, Smtp, Verdict, World};

const HOPELESS: &str = "All of them are certain to fail again";

/// What a dry run of all letters says.
async fn dry_run(visitor: &mut Visitor) -> String {
    let form_token = visitor.form_token("/console/dead-letters").await;
    let fields = [
        ("all", "yes"),
        ("canary", "5"),
        ("rate", "50"),
        ("maxFailures", "10"),
        ("dryRun", "yes"),
        ("formToken", &*form_token),
    ];
    let response = visitor.send("/console/dead-letters/replays", &fields, &[]).await;
    assert_eq!(response.status().as_u16(), 200);
    response.text().await.unwrap()
}

/// The numbers in the table of a dry run: letters, sent, done already, certain to fail again.
fn numbers(page: &str) -> Vec<[&str; 4]> {
    let rows = page.split(" data-row>").skip(1);
    rows.map(|row| {
        let mut cells = row.split("class=\"number\"").skip(1);
        [(); 4].map(|()| cells.next().unwrap().split(['>', '<']).nth(1).unwrap())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_dry_run_of_what_is_certain_to_fail_offers_no_replay_and_sends_nothing() {
    let world = World::new().await;
    world.take_unsigned().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let serve = world.serve().await;
    let api = serve.api();
    let _work = world.work_mailing("w", &smtp).await;
    let amqp = world.amqp().await;
    // Nobody can read these, for two causes.
    for body in ["not JSON", "not JSON", "{}"] {
        amqp.publish(&world.queue, Raw { body: body.into(), ..Raw::default() }).await;
    }
    world.dead_letters(3).await;

    let mut visitor = Visitor::new(&api);
    let page = dry_run(&mut visitor).await;
    assert!(page.contains("Nothing has happened yet."), "{page}");
    assert!(page.contains(HOPELESS) && page.contains("discard them"), "{page}");
    assert_eq!(numbers(&page), [["2", "0", "0", "2"], ["1", "0", "0", "1"]]);
    assert!(!page.contains("action=\"/console/dead-letters/replays\""), "{page}");
    // Not even a canary: there is no replay, and the letters are where they were.
    let replays = api.get("/dead-letters/replays").await.expect(200);
    assert_eq!(replays["data"].as_array().unwrap().len(), 0);
    assert_eq!(amqp.count(&world.queue).await, Some(0));
    assert_eq!(world.open_letters().await.len(), 3);
    let audited = api.get("/audit").await.expect(200);
    assert_eq!(
        (&audited["data"][0]["action"], &audited["data"][0]["dryRun"]),
        (&"replay".into(), &true.into())
    );

    // With one among them that may do better, there is something to replay.
    api.task("t", Some(1)).await;
    world.dead_letters(4).await;
    let page = dry_run(&mut visitor).await;
    assert!(!page.contains(HOPELESS), "{page}");
    assert!(numbers(&page).contains(&["1", "1", "0", "0"]), "{page}");
    assert!(page.contains("action=\"/console/dead-letters/replays\""), "{page}");
}
