//! How pages look: light and dark, wide and narrow, and with texts that break others.

use fantoccini::key::Key;
use serde_json::{Value, json};
use taskd_testing::{World, eventually};

use crate::browser::Browser;
use crate::pages::{allow_webhooks, furnish};
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

/// How high what stands above every page is, in CSS pixels.
async fn header(browser: &Browser) -> f64 {
    let script = "return document.querySelector('header').getBoundingClientRect().height";
    browser.run(script, vec![]).await.as_f64().unwrap()
}

/// How high the header may be on a screen of this width: one row, or two on a narrow screen.
fn highest(width: u32) -> f64 {
    if width < 500 { 100.0 } else { 56.0 }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn every_page_can_be_used_by_everybody_and_holds_whatever_text_there_is() {
    let mut world = World::new().await;
    allow_webhooks(&mut world);
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
            let height = header(&browser).await;
            if height > highest(width) {
                all.push(format!("{page}: the header is {height} px high at {width} px"));
            }
            let title = browser.driver.title().await.unwrap();
            assert!(title.ends_with(" · taskd"), "{page}: a text has become a script: {title}");
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: scripts/test"]
async fn the_menu_has_every_page_and_stays_open_while_pages_follow() {
    let world = World::demo();
    let mut demo = world.start(&["up", "--demo"], &[]);
    demo.wait_for_address("up").await;
    let browser = Browser::start(&demo.api().base).await;
    for (width, row, menu) in [(1280, 8, 6), (390, 0, 14)] {
        browser.resize(width, 800).await;
        browser.open("").await;
        browser.sees("#state", "live").await;
        let seen = "return [...document.querySelectorAll(arguments[0])].filter((it) => it.checkVisibility()).length";
        let count = |css: &'static str| browser.run(seen, vec![json!(css)]);
        assert_eq!(count("nav > ul a").await, row, "{width} px");
        assert_eq!(count("nav .menu a").await, 0, "it is closed at {width} px");
        browser.run("document.querySelector('.menu summary').focus()", vec![]).await;
        browser.press(&Key::Enter.to_string()).await;
        assert_eq!(count("nav .menu a").await, menu, "{width} px");
        assert!(header(&browser).await <= highest(width), "{width} px");
        assert_eq!(findings(&browser).await, json!([]), "{width} px");
        assert_eq!(overflow(&browser).await, json!([]), "{width} px");
        // The people of the demo change something at every moment.
        let follow = "document.addEventListener('htmx:after:swap', () => { document.body.dataset.followed = 1 })";
        browser.run(follow, vec![]).await;
        eventually("the page has followed", || async {
            (browser.count("body[data-followed]").await == 1).then_some(())
        })
        .await;
        assert_eq!(count("nav .menu a").await, menu, "a refresh closes no menu");
        browser.press(&Key::Escape.to_string()).await;
        assert_eq!(count("nav .menu a").await, 0, "{width} px");
        browser.press(&Key::Enter.to_string()).await;
        browser.click("nav .menu a[href='/console/categories']").await;
        browser.arrives("/console/categories").await;
        browser.sees("nav a[aria-current=page]", "Categories").await;
        assert_eq!(count("nav > ul a[aria-current]").await, i32::from(width > 500), "{width} px");
        assert!(header(&browser).await <= highest(width), "{width} px");
    }
    browser.was_clean().await;
}
