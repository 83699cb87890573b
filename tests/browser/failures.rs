//! Failures: seen, understood, mended and replayed.

use taskd_testing::{Smtp, Verdict, World, eventually};

use crate::browser::Browser;
use crate::people::{ADMIN, Instance, PASSWORD, VIEWER};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_failure_is_watched_until_it_dies_and_replayed_until_it_is_done() {
    const TASKS: usize = 3;
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::DeferFirst(usize::MAX));
    let instance = Instance::start(&world).await;
    let _work = world.work("w", &[("SMTP_URL", &smtp.url()), ("EFFECT_BREAKER", "off")]).await;
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(ADMIN, PASSWORD).await;
    for number in 0..TASKS {
        instance.api.task(&format!("t{number}"), Some(1)).await;
    }
    browser.open("/dead-letters").await;
    // The page comes to show it by itself.
    browser.sees("tr[data-row]", &TASKS.to_string()).await;
    browser.open("").await;
    browser.sees("table", "dead").await;
    browser.open("/dead-letters").await;
    browser.click("tr[data-row] a").await;
    browser.sees("h2", "The newest letter").await;
    browser.sees(".story li", "attempt 1").await;
    // An event's page says where it ended.
    let event = instance.api.get("/events?state=dead&limit=1").await.expect(200);
    let group = browser.address().await;
    browser.open(&format!("/events/{}", event["data"][0]["eventId"].as_str().unwrap())).await;
    browser.sees(".story li", "dead").await;
    browser.sees("main strong", "dead: letter").await;

    smtp.set(Verdict::Accept);
    browser.open(group.strip_prefix("/console").unwrap()).await;
    browser.click("button[name=dryRun]").await;
    browser.sees("main", "Nothing has happened yet.").await;
    browser.sees("td.number", &TASKS.to_string()).await;
    assert!(smtp.mails().is_empty(), "a dry run sends nothing");
    browser.fill("input[name=canary]", "1").await;
    browser.click("form button.main").await;
    browser.arrives("/console/dead-letters/replays/").await;
    browser.sees(".badge", "done").await;
    browser.sees(".card", &format!("Done{TASKS}")).await;
    smtp.wait_for(TASKS).await;
    assert_eq!(smtp.distinct_ids().len(), TASKS);
    browser.open("/dead-letters").await;
    browser.sees(".empty", "No dead letters.").await;
    browser.open("/audit").await;
    browser.sees("td", "replay").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_letter_is_discarded_with_a_reason_and_a_viewer_can_only_look() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let instance = Instance::start(&world).await;
    let _work = world.work("w", &[("SMTP_URL", &smtp.url())]).await;
    instance.api.task("t", Some(1)).await;
    let letter = eventually("there is a letter", || async {
        let page = instance.api.get("/dead-letters").await.expect(200);
        page["data"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let path = format!("/dead-letters/letters/{letter}");
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(VIEWER, PASSWORD).await;
    browser.open(&path).await;
    browser.sees("dl.facts", "550").await;
    assert_eq!(browser.count("main form").await, 0, "nothing to press");
    browser.click("header .who button").await;

    browser.sign_in(ADMIN, PASSWORD).await;
    browser.open(&path).await;
    browser.fill("input[name=reason]", "the mailbox is gone").await;
    browser.click("button.danger").await;
    browser.driver.accept_alert().await.unwrap();
    browser.sees(".note", "One letter is discarded.").await;
    browser.sees("dl.facts", "discarded").await;
    browser.open("/audit").await;
    browser.click("td details summary").await;
    browser.sees("td", "the mailbox is gone").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_letter_is_corrected_by_the_fields_of_its_schema() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseAll);
    let instance = Instance::start(&world).await;
    let _work = world.work("w", &[("SMTP_URL", &smtp.url())]).await;
    instance.api.task("Wrong", Some(1)).await;
    let letter = eventually("there is a letter", || async {
        let page = instance.api.get("/dead-letters").await.expect(200);
        page["data"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    smtp.set(Verdict::Accept);
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(ADMIN, PASSWORD).await;
    browser.open(&format!("/dead-letters/letters/{letter}/edit")).await;
    browser.fill("input[name='payload.version']", "one").await;
    browser.click("button[name=dryRun]").await;
    browser.sees(".problem", "version").await;
    browser.fill("input[name='payload.version']", "1").await;
    browser.fill("input[name='payload.title']", "Right").await;
    browser.click("button[name=dryRun]").await;
    browser.sees(".note", "The payload is valid.").await;
    browser.click("form button.main").await;
    browser.arrives("/console/events/").await;
    browser.sees("main", "Follows from").await;
    browser.sees("p .badge", "done").await;
    let mails = smtp.wait_for(1).await;
    assert!(mails[0].raw.contains("Right"), "{}", mails[0].raw);
    browser.was_clean().await;
}
