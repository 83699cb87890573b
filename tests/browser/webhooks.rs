//! A webhook: made, tried, watched and deleted.

use fantoccini::Locator;
use taskd_testing::{Manner, Receiver, World, eventually};

use crate::browser::Browser;
use crate::looks::{LOOKS, wrong};
use crate::pages::allow_webhooks;
use crate::people::{Instance, MEMBER, PASSWORD};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_member_makes_a_webhook_and_sees_what_it_is_told() {
    let mut world = World::new().await;
    allow_webhooks(&mut world);
    let instance = Instance::start(&world).await;
    let _work = world.work("w", &[]).await;
    let receiver = Receiver::start().await;
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(MEMBER, PASSWORD).await;
    browser.click("nav a[href='/console/webhooks']").await;
    browser.sees(".hint", "There is none yet.").await;
    looks_right(&browser, "no webhook").await;
    browser.click(".hint a.button").await;
    browser.fill("input[name=url]", &receiver.url("/in")).await;
    browser.fill("input[name=rate]", "fast").await;
    browser.click("input[value=TASK_CREATED]").await;
    browser.click("main form button.main").await;
    browser.sees(".wrong", "must").await;
    looks_right(&browser, "a refused form").await;
    assert_eq!(browser.count("input[value=TASK_CREATED]:checked").await, 1);
    browser.fill("input[name=rate]", "").await;
    browser.click("main form button.main").await;
    browser.sees("div.note code", "whsec_").await;
    assert_eq!(browser.count("div.note button.copy").await, 1);
    looks_right(&browser, "a secret").await;
    browser.driver.refresh().await.unwrap();
    browser.sees("h1", "Webhook to 127.0.0.1").await;
    assert_eq!(browser.count("div.note").await, 0, "the secret is shown once");

    receiver.set("/in", Manner::Status(503));
    receiver.say("/in", "not today");
    browser.click("form[action$='/ping'] button").await;
    browser.sees("h1", "Ping to 127.0.0.1").await;
    browser.sees("pre", "not today").await;
    looks_right(&browser, "a ping").await;
    browser.click("a.button").await;
    receiver.set("/in", Manner::Status(200));
    // The page comes to show it by itself.
    browser.sees("#state", "live").await;
    instance.api.task("Told", Some(instance.member)).await;
    browser.sees("tr[data-row] .badge", "done").await;
    browser.click("tr[data-row] a").await;
    browser.sees(".story li", "answered 200").await;
    browser.click("form[action$='/resend'] button").await;
    browser.sees(".note", "It is sent again").await;
    receiver.wait_for("/in", 3).await;

    browser.click("dl.facts a[href^='/console/webhooks/']").await;
    browser.click("button.danger").await;
    let asked =
        eventually("it asks first", || async { browser.driver.get_alert_text().await.ok() }).await;
    assert!(asked.contains("Delete this webhook?"), "{asked}");
    browser.driver.accept_alert().await.unwrap();
    browser.sees(".note", "The webhook is deleted.").await;
    assert!(browser.driver.find(Locator::Css("tr[data-row]")).await.is_err());
    browser.was_clean().await;
}

/// Checks the page that is open, light and dark, wide and narrow, as it stands.
async fn looks_right(browser: &Browser, what: &str) {
    for (scheme, width) in LOOKS {
        browser.prefer(scheme).await;
        browser.resize(width, 800).await;
        let wrong = wrong(browser).await;
        assert!(wrong.is_empty(), "{what} ({scheme}, {width} px): {}", wrong.join("\n"));
    }
    browser.resize(1280, 800).await;
}
