//! How pages look: light and dark, wide and narrow, and with texts that break others.

use serde_json::{Value, json};
use taskd_testing::World;

use crate::browser::Browser;
use crate::pages::furnish;
use crate::people::{ADMIN, PASSWORD};

/// Deque's axe (https://github.com/dequelabs/axe-core), which finds what the Web Content
/// Accessibility Guidelines forbid.
const AXE: &str = include_str!("axe.min.js");

/// What axe finds in the page by the rules of WCAG 2.2 AA and its best practices.
pub async fn findings(browser: &Browser) -> Value {
    browser.driver.execute(AXE, vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; \
         axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }) \
         .then((found) => done(found.violations.map((it) => [it.id, it.nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary)])))\
         .catch((error) => done(String(error)))";
    browser.driver.execute_async(run, vec![]).await.unwrap()
}

/// What stands out of the page to the right, if it can be scrolled that way.
async fn overflow(browser: &Browser) -> Value {
    let script = "const wide = document.documentElement.scrollWidth - innerWidth; \
         return wide <= 0 ? [] : [wide, ...[...document.querySelectorAll('body *')] \
         .filter((it) => it.getBoundingClientRect().right > innerWidth + 1 && !it.closest('.scroll')) \
         .slice(0, 5).map((it) => it.outerHTML.slice(0, 120))]";
    browser.run(script, vec![]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_page_can_be_used_by_everybody_and_holds_whatever_text_there_is() {
    let world = World::new().await;
    let furnished = furnish(&world).await;
    let browser = Browser::start(&furnished.instance.base).await;
    let mut wrong = Vec::new();
    browser.open("/sign-in").await;
    for found in findings(&browser).await.as_array().unwrap() {
        wrong.push(format!("/sign-in: {found}"));
    }
    browser.sign_in(ADMIN, PASSWORD).await;
    for (scheme, width) in [("light", 1280), ("dark", 390)] {
        browser.prefer(scheme).await;
        browser.resize(width, 800).await;
        for page in &furnished.pages {
            browser.open(page).await;
            let found = findings(&browser).await;
            for found in found.as_array().unwrap_or_else(|| panic!("{page}: {found}")) {
                wrong.push(format!("{page} ({scheme}, {width} px): {found}"));
            }
            let wide = overflow(&browser).await;
            if wide != json!([]) {
                wrong.push(format!("{page} is wider than {width} px: {wide}"));
            }
            let title = browser.driver.title().await.unwrap();
            assert!(title.ends_with(" · taskd"), "{page}: a text has become a script: {title}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    browser.was_clean().await;
}
