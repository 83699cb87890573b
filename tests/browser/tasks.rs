//! Tasks: made, completed, changed by two at a time, with the keyboard and without scripts.

use fantoccini::key::Key;
use serde_json::json;
use taskd_testing::{World, eventually};

use crate::browser::Browser;
use crate::people::{ADMIN, Instance, MEMBER, PASSWORD};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_task_is_made_and_completed_and_a_second_window_sees_it() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(ADMIN, PASSWORD).await;
    browser.open("/tasks").await;
    let first = browser.driver.window().await.unwrap();
    let second = browser.new_window().await;
    browser.open("/board").await;
    browser.sees("#state", "live").await;

    browser.driver.switch_to_window(first).await.unwrap();
    browser.click("a.button.main").await;
    browser.fill("input[name=title]", "Water the plants").await;
    browser.fill("textarea[name=description]", "All of them.\nTwice.").await;
    browser.click("main form button.main").await;
    browser.sees(".note", "The task is created.").await;
    browser.sees("h1", "Water the plants").await;
    browser.click("main .actions form button").await;
    browser.sees("main .actions", "Complete").await;
    browser.click("main .actions form button").await;
    browser.sees("dl.facts", "completed").await;

    browser.driver.switch_to_window(second).await.unwrap();
    browser.sees("section[aria-labelledby=column-completed] article", "Water the plants").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn when_another_change_came_first_both_are_shown_and_nothing_is_lost() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    let task = instance.api.task("Mine", Some(instance.member)).await;
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(MEMBER, PASSWORD).await;
    browser.open(&format!("/tasks/{}/edit", task["id"])).await;
    browser.fill("input[name=title]", "As I want it").await;
    let path = format!("/tasks/{}", task["id"]);
    instance.api.patch(&path, json!({ "title": "As others want it" })).await.expect(200);
    browser.click("main form button.main").await;
    browser.sees("h1", "Another change came first").await;
    browser.sees(".versions section", "As others want it").await;
    let field = browser.find("input[name=title]").await;
    assert_eq!(field.prop("value").await.unwrap().unwrap(), "As I want it");
    assert_eq!(instance.api.get(&path).await.expect(200)["title"], "As others want it");
    browser.click(".versions form button.danger").await;
    browser.sees("h1", "As I want it").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_keyboard_is_enough() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    for title in ["Alpha", "Beta", "Gamma"] {
        instance.api.task(title, Some(instance.member)).await;
    }
    let browser = Browser::start(&instance.base).await;
    browser.open("").await;
    browser.arrives("/console/sign-in").await;
    // The first field has the focus.
    browser.press(MEMBER).await;
    browser.press(&Key::Tab.to_string()).await;
    browser.press(PASSWORD).await;
    browser.press(&Key::Enter.to_string()).await;
    browser.arrives("/console/tasks").await;
    browser.sees("td", "Gamma").await;
    browser.press("?").await;
    browser.sees("dialog[open]", "Keys").await;
    browser.press(&Key::Escape.to_string()).await;
    browser.sees_no("dialog[open]").await;
    // The newest is the first.
    browser.press("jj").await;
    browser.sees("tr.current", "Beta").await;
    browser.press("k").await;
    browser.sees("tr.current", "Gamma").await;
    browser.press(&Key::Enter.to_string()).await;
    browser.sees("h1", "Gamma").await;
    browser.press("gt").await;
    browser.arrives("/console/tasks").await;
    browser.press("/").await;
    browser.press("alp").await;
    browser.press(&Key::Enter.to_string()).await;
    browser.arrives("/console/tasks?search=alp").await;
    browser.sees("td", "Alpha").await;
    assert_eq!(browser.count("tr[data-row]").await, 1);
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn everything_but_live_pages_works_without_scripts() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    let browser = Browser::start_without_scripts(&instance.base).await;
    browser.sign_in(ADMIN, PASSWORD).await;
    assert_eq!(browser.count("html.js").await, 0, "no script has run");
    browser.open("/tasks/new").await;
    browser.fill("input[name=title]", "By hand").await;
    browser.click("main form button.main").await;
    browser.sees("h1", "By hand").await;
    browser.click("main .actions form button").await;
    browser.sees("dl.facts", "in-progress").await;
    browser.click("main .actions a.button").await;
    browser.fill("input[name=title]", "By both hands").await;
    browser.click("main form button.main").await;
    browser.sees("h1", "By both hands").await;
    browser.click("button.danger").await;
    browser.sees(".note", "The task is deleted.").await;

    browser.open("/effects").await;
    browser.fill("#effect-email input[name=reason]", "a try").await;
    browser.click("#effect-email button[aria-label='Pause email']").await;
    browser.sees("#effect-email", "a try").await;
    browser.click("#effect-email button[aria-label='Resume email']").await;
    browser.sees("#effect-email", "running").await;
    browser.open("/audit").await;
    browser.sees("td", "resume").await;
    browser.open("/categories").await;
    browser.fill("form.filter input[name=name]", "Garden").await;
    browser.click("form.filter button").await;
    browser.sees("td", "Garden").await;
    browser.click("header .who button").await;
    browser.arrives("/console/sign-in").await;
    browser.open("/tasks").await;
    browser.arrives("/console/sign-in?next=%2Fconsole%2Ftasks").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_refresh_takes_nothing_from_its_reader() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    for number in 0..60 {
        instance.api.task(&format!("t{number}"), Some(instance.member)).await;
    }
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(MEMBER, PASSWORD).await;
    browser.open("/tasks").await;
    browser.sees("#state", "live").await;
    browser.fill("input[name=search]", "half wri").await;
    instance.api.task("While typing", Some(instance.member)).await;
    browser.sees("#state", "paused while typing").await;
    assert_eq!(
        browser.run("return document.querySelector('[name=search]').value", vec![]).await,
        "half wri"
    );
    // Somebody who looks elsewhere meanwhile has still not sent it.
    browser.run("document.activeElement.blur(); scrollTo(0, 700)", vec![]).await;
    browser.sees("#state", "paused while typing").await;
    let clear = "document.querySelector('[name=search]').value = ''; \
         document.querySelector('[name=search]').dispatchEvent(new Event('focusout', { bubbles: true }))";
    browser.run(clear, vec![]).await;
    browser.sees("td", "While typing").await;
    assert!(browser.run("return scrollY", vec![]).await.as_f64().unwrap() > 500.0);

    let select = "const range = document.createRange(); \
         range.selectNodeContents(document.querySelectorAll('tr[data-row] a')[9]); \
         getSelection().removeAllRanges(); getSelection().addRange(range)";
    browser.run(select, vec![]).await;
    instance.api.task("While selecting", Some(instance.member)).await;
    browser.sees("#state", "paused while selecting").await;
    assert_ne!(browser.run("return getSelection().toString()", vec![]).await, "");
    browser.run("getSelection().removeAllRanges()", vec![]).await;
    browser.sees("td", "While selecting").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_live_page_goes_on_elsewhere_when_its_instance_stops() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    let address = instance.base.strip_prefix("http://").unwrap().to_owned();
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(MEMBER, PASSWORD).await;
    browser.open("/tasks").await;
    browser.sees("#state", "live").await;
    instance.serve.signal("TERM");
    assert!(instance.serve.exit().await.success());
    let log = instance.serve.text();
    assert!(!log.contains("DRAIN_TIMEOUT is over"), "the stream held the process: {log}");
    browser.sees("#state", "not connected").await;
    let port = address.rsplit(':').next().unwrap();
    let next = world.serve_with(&[("TASKD_AUTH", "tokens"), ("PORT", port)]).await;
    browser.sees("#state", "live").await;
    eventually("the next instance answers", || async {
        Some(instance.api.get("/tasks").await.expect(200))
    })
    .await;
    instance.api.task("After the change", Some(instance.member)).await;
    browser.sees("td", "After the change").await;
    drop(next);
}
