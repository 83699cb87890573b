//! What pages of the console say: of problems, of versions that differ, of a demo, and of a history
//! that has just begun.

use reqwest::header::{CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use reqwest::{Response, StatusCode};
use serde_json::json;
use taskd_testing::{Api, World, eventually};

async fn page(api: &Api, path: &str) -> Response {
    api.client.get(format!("{}/console{path}", api.base)).send().await.unwrap()
}

/// What a hidden field of a page has in it.
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_page_of_a_problem_leads_on_and_says_when_to_try_again() {
    let world = World::new().await;
    let serve = world.serve_with(&[("RATE_LIMIT_READS", "12/1m")]).await;
    let api = serve.api();
    for path in ["/tasks/999", "/nothing"] {
        let missing = page(&api, path).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND, "{path}");
        let text = missing.text().await.unwrap();
        for part in ["<nav aria-label=\"Pages\"", "href=\"/console/effects\""] {
            assert!(text.contains(part), "{path}, {part}: {text}");
        }
        assert!(!text.contains("aria-current"), "{path} is none of the pages: {text}");
    }
    let limited = eventually("the limit of the API is reached", || async {
        let answer = page(&api, "/tasks").await;
        (answer.status() == StatusCode::TOO_MANY_REQUESTS).then_some(answer)
    })
    .await;
    let seconds: u32 = limited.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    let text = limited.text().await.unwrap();
    let said = match seconds {
        1 => "Try again in a second.".to_owned(),
        seconds => format!("Try again in {seconds} seconds."),
    };
    assert!(text.contains(&said), "{said}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn who_is_not_signed_in_sees_no_navigation() {
    let world = World::new().await;
    let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
    let text = page(&serve.api(), "/nothing").await.text().await.unwrap();
    assert!(!text.contains("<nav"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn two_versions_of_a_task_say_in_what_they_differ() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    let given = json!({ "title": "Mine", "description": "one\ntwo", "userId": 1 });
    let task = api.post("/tasks", given).await.expect(201);
    let address = format!("/tasks/{}", task["id"]);
    let form = page(&api, &format!("{address}/edit")).await;
    let cookie = form.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let form = form.text().await.unwrap();
    assert!(!form.contains("differs"), "there is nothing to differ from: {form}");
    api.patch(&address, json!({ "title": "Theirs", "status": "completed" })).await.expect(200);
    let fields = [
        ("title", "Mine"),
        ("description", "one\r\ntwo"),
        ("status", "pending"),
        ("userId", "1"),
        ("categoryId", ""),
        ("dueAt", ""),
        ("version", hidden(&form, "version")),
        ("formToken", hidden(&form, "formToken")),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = api.client.post(format!("{}/console{address}", api.base)).body(body);
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.header(COOKIE, cookie).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
    let text = answer.text().await.unwrap();
    for (label, differs) in [
        ("Title", true),
        ("Status", true),
        ("Description", false),
        ("For", false),
        ("Category", false),
        ("Due", false),
    ] {
        assert_eq!(text.contains(&format!("{label} (differs)")), differs, "{label}: {text}");
    }
    let marks = text.matches("<span class=\"badge warn\">differs</span>").count();
    assert_eq!(marks, 2, "the same two in the version that is there: {text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_history_that_has_just_begun_is_not_shown_as_an_hour_of_nothing() {
    let world = World::new().await;
    let serve = world.serve().await;
    let text = page(&serve.api(), "").await.text().await.unwrap();
    assert!(text.contains("The lines begin at <time"), "{text}");
    assert!(!text.contains("polyline points=\"0,"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_of_a_demo_leads_to_what_is_broken_on_purpose() {
    let world = World::demo();
    let mut demo = world.start(&["up", "--demo"], &[]);
    demo.wait_for_address("up").await;
    let api = demo.api();
    let text = page(&api, "").await.text().await.unwrap();
    assert!(text.contains("This is a demo") && !text.contains("Broken on purpose"), "{text}");
    for (order, fault) in [("/demo/broker/hold", "hold"), ("/demo/worker/stop", "stop")] {
        api.request("POST", order).send().await.unwrap().error_for_status().unwrap();
        eventually(&format!("the overview blames {order}"), || async {
            let text = page(&api, "").await.text().await.unwrap();
            text.contains(&format!("/console/demo#fault-{fault}")).then_some(())
        })
        .await;
        api.request("POST", "/demo/mend").send().await.unwrap().error_for_status().unwrap();
    }
    eventually("nothing is blamed any more", || async {
        let text = page(&api, "").await.text().await.unwrap();
        (!text.contains("Broken on purpose")).then_some(())
    })
    .await;
}
