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
async fn findings(browser: &Browser) -> Value {
    browser.driver.execute(AXE, vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; \
         axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }) \
         .then((found) => done(found.violations.map((it) => [it.id, it.nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary)])))\
         .catch((error) => done(String(error)))";
    browser.driver.execute_async(run, vec![]).await.unwrap()
}

/// What is wrong with the looks of the page that is open: for axe, and for who has this width.
pub async fn wrong(browser: &Browser) -> Vec<String> {
    let found = findings(browser).await;
    let found = found.as_array().unwrap_or_else(|| panic!("axe has failed: {found}"));
    let mut wrong: Vec<_> = found.iter().map(Value::to_string).collect();
    let wide = overflow(browser).await;
    if wide != json!([]) {
        wrong.push(format!("wider than the window: {wide}"));
    }
    wrong
}

/// The looks that every page is tried in: a scheme of colours, and a width in pixels.
pub const LOOKS: [(&str, u32); 2] = [("light", 1280), ("dark", 390)];

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
    let mut all = Vec::new();
    browser.open("/sign-in").await;
    all.extend(wrong(&browser).await);
    browser.sign_in(ADMIN, PASSWORD).await;
    for (scheme, width) in LOOKS {
        browser.prefer(scheme).await;
        browser.resize(width, 800).await;
        for page in &furnished.pages {
            browser.open(page).await;
            for found in wrong(&browser).await {
                all.push(format!("{page} ({scheme}, {width} px): {found}"));
            }
            let title = browser.driver.title().await.unwrap();
            assert!(title.ends_with(" · taskd"), "{page}: a text has become a script: {title}");
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    browser.was_clean().await;
}
