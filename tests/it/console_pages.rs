//! What pages of the console say.

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use taskd_testing::{Api, World, eventually};

async fn page(api: &Api, path: &str) -> Response {
    api.client.get(format!("{}/console{path}", api.base)).send().await.unwrap()
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
