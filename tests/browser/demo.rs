//! The page on which a demo is broken.

use taskd_testing::{World, eventually};

use crate::browser::Browser;
use crate::looks::{LOOKS, wrong};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: scripts/test"]
async fn a_demo_is_broken_and_mended_and_its_page_says_that_nothing_is_lost() {
    let world = World::demo();
    let mut demo = world.start(&["up", "--demo"], &[]);
    demo.wait_for_address("up").await;
    let api = demo.api();
    let browser = Browser::start(&api.base).await;
    browser.open("").await;
    browser.sees("nav a", "Break it").await;
    browser.open("/demo").await;
    browser.sees(".verdict", "No change is lost").await;

    browser.click("#fault-stop form button").await;
    browser.sees("#fault-stop .badge", "stopped").await;
    // The people go on, and what they do waits.
    eventually("events wait for a worker", || async {
        let page = api.get("/events?state=queued&limit=1").await.expect(200);
        page["data"][0]["eventId"].as_str().map(drop)
    })
    .await;
    browser.open("/events?state=queued").await;
    browser.click("tr[data-row] a").await;
    browser.sees("main strong", "no worker is consuming").await;

    browser.open("/demo").await;
    browser.fill("#fault-garbage input[name=count]", "7").await;
    browser.click("#fault-garbage form button").await;
    browser.sees(".note", "Garbage is in the queue.").await;
    browser.click("main .actions form button.main").await;
    browser.sees(".note", "Every fault has ended.").await;
    browser.sees_no("#fault-stop .badge").await;
    browser.open("/dead-letters/letters").await;
    eventually("the garbage is with the dead letters", || async {
        browser.open("/dead-letters/letters").await;
        (browser.count("tr[data-row]").await >= 7).then_some(())
    })
    .await;
    browser.open("/demo").await;
    browser.sees(".verdict", "No change is lost").await;
    for (scheme, width) in LOOKS {
        browser.prefer(scheme).await;
        browser.resize(width, 800).await;
        browser.open("/demo").await;
        assert!(wrong(&browser).await.is_empty(), "{scheme}: {:?}", wrong(&browser).await);
    }
    browser.was_clean().await;
}
