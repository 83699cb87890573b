//! How a mail server is spoken to.

use taskd_testing::{Smtp, Verdict, World};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_server_that_greets_late_gets_the_mail_on_the_connection_it_greeted_on() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::HoldGreeting);
    let serve = world.serve().await;
    let more = [("SMTP_URL", smtp.url()), ("RETRY_DELAYS", "100ms,200ms,200ms".into())];
    let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
    let work = world.work("w", &more).await;
    serve.api().task("t", Some(1)).await;
    // The mail waits for as long as an effect may take, and is tried again; the connection goes on waiting.
    work.log("it waits", |line| line["outcome"] == "retried").await;
    smtp.set(Verdict::Accept);
    assert_eq!(smtp.wait_for(1).await.len(), 1);
    assert!(smtp.connections() <= 2, "{}", smtp.connections());
    work.log("it is sent", |line| line["outcome"] == "processed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_machine_says_its_full_name_or_its_address_and_is_not_taken_for_a_mailbox() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    smtp.set(Verdict::RefuseHello);
    let serve = world.serve().await;
    let work = world.work_mailing("w", &smtp).await;
    serve.api().task("t", Some(1)).await;
    let retried = work.log("the name is refused", |line| line["outcome"] == "retried").await;
    assert!(retried.to_string().contains("SMTP_HELO_NAME"), "{retried}");
    smtp.set(Verdict::Accept);
    smtp.wait_for(1).await;
    let said = smtp.hellos().remove(0);
    assert!(said.starts_with('[') || said.contains('.'), "{said}");
    drop(work);
    let named = [("SMTP_URL", smtp.url()), ("SMTP_HELO_NAME", "mail.example.com".into())];
    let named = named.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _work = world.work("named", &named).await;
    serve.api().task("t", Some(1)).await;
    smtp.wait_for(2).await;
    assert_eq!(smtp.hellos().last().unwrap(), "mail.example.com");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_lone_cr_and_other_controls_reach_no_server_as_they_are() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let _work = world.work_mailing("w", &smtp).await;
    let task = serde_json::json!({
        "title": "=?utf-8?q?paid?= pay\u{200b}pal",
        "description": "a\r.\rQUIT\u{1b}[2J\u{202e}x\n.\nb",
        "userId": 1,
    });
    serve.api().post("/tasks", task).await.expect(201);
    let mail = smtp.wait_for(1).await.remove(0);
    let rest = mail.raw.replace("\r\n", "");
    assert!(rest.chars().all(|c| !c.is_control() || c == '\t'), "{:?}", mail.raw);
    assert!(!mail.subject.contains("paid"), "{}", mail.subject);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_title_that_shows_nothing_is_blank() {
    let world = World::new().await;
    let serve = world.serve().await;
    let api = serve.api();
    for title in ["\u{200b}", "\u{2800}", "\u{202e}\u{feff} ", "\u{3164}"] {
        let refused = api.post("/tasks", serde_json::json!({ "title": title })).await;
        assert!(refused.text.contains("blank"), "{title:?}: {}", refused.text);
        assert_eq!(refused.status, 400, "{title:?}");
    }
    api.task("👩\u{200d}💻", None).await;
}
