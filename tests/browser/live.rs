//! Live pages when something is in their way: a proxy, a session that has ended, a reader who
//! writes.

use std::sync::{Arc, Mutex};

use serde_json::json;
use taskd_testing::{Proxy, Smtp, Verdict, World, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::browser::Browser;
use crate::people::{ADMIN, Instance, MEMBER, PASSWORD};

/// A gateway whose instance is away: it answers 502, and keeps the first line of each request.
struct BadGateway {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl BadGateway {
    async fn start() -> BadGateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(refuse(client, Arc::clone(&kept)));
            }
        });
        BadGateway { port, asked }
    }

    fn asked_for(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|line| line.split(' ').nth(1).unwrap().starts_with(path)).count()
    }
}

async fn refuse(mut client: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut buffer).await {
            Ok(count @ 1..) => head.extend_from_slice(&buffer[..count]),
            // A browser opens connections ahead, and does not use them all.
            _ => return,
        }
    }
    asked.lock().unwrap().push(String::from_utf8_lossy(&head).lines().next().unwrap().to_owned());
    let answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // A browser that has gone meanwhile needs no answer.
    let _ = client.write_all(answer).await;
}

fn port(base: &str) -> u16 {
    base.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_stream_that_a_proxy_refuses_for_a_while_is_opened_again() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    let proxy = Proxy::start(port(&instance.base)).await;
    let gateway = BadGateway::start().await;
    let browser = Browser::start(&format!("http://127.0.0.1:{}", proxy.port())).await;
    browser.sign_in(MEMBER, PASSWORD).await;
    browser.open("/tasks").await;
    browser.sees("#state", "live").await;
    proxy.lead_to(gateway.port);
    proxy.cut();
    browser.sees("#state", "not connected").await;
    // The browser gives up after the first such answer; the page does not.
    eventually("the stream is asked for again after an answer that is none", || async {
        (gateway.asked_for("/console/live") >= 2).then_some(())
    })
    .await;
    proxy.lead_to(port(&instance.base));
    browser.sees("#state", "live").await;
    instance.api.task("After the restart", Some(instance.member)).await;
    browser.sees("td", "After the restart").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_page_whose_session_has_ended_leads_to_sign_in_and_back() {
    let world = World::new().await;
    let instance = Instance::start(&world).await;
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(MEMBER, PASSWORD).await;
    browser.open("/tasks?status=pending").await;
    browser.sees("#state", "live").await;
    let session = browser.driver.get_named_cookie("taskd_session").await.unwrap();
    let of_member = instance.serve.api().with_token(session.value());
    of_member.get("/tasks").await.expect(200);
    let sessions = format!("/users/{}/sessions", instance.member);
    assert_eq!(instance.api.delete(&sessions).await.status, 204);
    eventually("the session is known to have ended", || async {
        (of_member.get("/tasks").await.status == 401).then_some(())
    })
    .await;
    // What makes the page fetch itself.
    instance.api.task("After the end", Some(instance.member)).await;
    browser.arrives("/console/sign-in?next=%2Fconsole%2Ftasks%3Fstatus%3Dpending").await;
    browser.sees("h1", "Sign in").await;
    browser.fill("input[name=email]", MEMBER).await;
    browser.fill("input[name=password]", PASSWORD).await;
    browser.click("form button.main").await;
    browser.arrives("/console/tasks?status=pending").await;
    browser.sees("td", "After the end").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn what_is_written_for_an_effect_stays_in_its_form() {
    // As a page fetches itself; it does so while somebody writes, if they began meanwhile.
    const FETCH: &str = "htmx.ajax('GET', location.pathname, \
         { target: '#main', select: '#main', swap: 'outerMorph' })";
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::Unreachable);
    let instance = Instance::start(&world).await;
    let _work = world.work("w", &[("SMTP_URL", &smtp.url()), ("EFFECT_BREAKER", "1")]).await;
    let browser = Browser::start(&instance.base).await;
    browser.sign_in(ADMIN, PASSWORD).await;
    browser.open("/effects").await;
    browser.fill("#effect-activity input[name=reason]", "for the log").await;
    browser.fill("#effect-email input[name=reason]", "for the mails").await;
    // The effect that fails gets another form, ahead of the one that is written in.
    instance.api.task("t", Some(instance.member)).await;
    eventually("the breaker is open", || async {
        let effects = instance.api.get("/effects").await.expect(200);
        (effects["data"][1]["breaker"] == "open").then_some(())
    })
    .await;
    // The forms that come have another proof than those that are there, as after signing in again.
    browser.driver.delete_cookie("taskd_form").await.unwrap();
    browser.run(FETCH, vec![]).await;
    browser.sees("#effect-email", "the breaker is open").await;
    browser.find("#effect-email button[aria-label='Resume email']").await;
    for (effect, written) in [("activity", "for the log"), ("email", "for the mails")] {
        let script = "const field = document.querySelector(arguments[0]); \
             return [field.value, new URL(field.form.action).pathname]";
        let field = format!("#effect-{effect} input[name=reason]");
        let found = browser.run(script, vec![json!(field)]).await;
        assert_eq!(found, json!([written, format!("/console/effects/{effect}/pause")]));
    }
    browser.click("#effect-activity button[aria-label='Pause activity']").await;
    browser.sees("#effect-activity", "for the log").await;
    let email = browser.find("#effect-email").await.text().await.unwrap();
    assert!(!email.contains("paused by"), "{email}");

    // A button that has the focus does not become the one that does the opposite.
    browser.sees("#state", "live").await;
    let focus = "document.querySelector('#effect-activity button').focus()";
    browser.run(focus, vec![]).await;
    instance.api.post("/effects/activity/resume", json!({})).await.expect(200);
    browser.find("#effect-activity button[aria-label='Pause activity']").await;
    let focused = "return document.activeElement.getAttribute('aria-label')";
    assert_eq!(browser.run(focused, vec![]).await, json!(null));
    browser.was_clean().await;
}
