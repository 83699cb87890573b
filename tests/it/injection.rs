//! What people write stays what they have written: no header of a mail, no markup, no line of a log.

use serde_json::json;

use taskd_testing::{Raw, Smtp, World, eventually};

/// Ends a header, a line and a string, opens a tag, steers a terminal, and has four bytes.
const HOSTILE: &str =
    "t\r\nBcc: eve@example.com\r\n\r\n.\r\n\u{1b}[2J<script>alert(\"1\")</script>&𝄞";

/// The text of a mail's parts, without the way it was packed for its journey (RFC 2045).
fn unpacked(raw: &str) -> String {
    use base64::Engine;
    let mut text = String::new();
    for part in raw.split("\r\n--").skip(1) {
        let Some((head, body)) = part.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let bytes = if head.contains("base64") {
            let packed: String = body.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(packed).unwrap()
        } else if head.contains("quoted-printable") {
            // Where a line goes on, it ends with an equals sign; else two digits follow one.
            let joined = body.replace("=\r\n", "");
            percent_encoding::percent_decode_str(&joined.replace('%', "=25").replace('=', "%"))
                .collect()
        } else {
            body.as_bytes().to_vec()
        };
        text.push_str(&String::from_utf8(bytes).unwrap());
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_text_becomes_a_header_or_markup_of_a_mail() {
    let world = World::new().await;
    let smtp = Smtp::start().await;
    let serve = world.serve().await;
    let _work = world.work_mailing("w", &smtp).await;
    let api = serve.api();
    let user = json!({ "email": "ada@example.com", "name": HOSTILE, "password": "correct horse" });
    let user = api.post("/users", user).await.expect(201)["id"].clone();
    let input = json!({ "title": HOSTILE, "description": HOSTILE, "userId": user });
    api.post("/tasks", input).await.expect(201);
    api.patch("/tasks/1", json!({ "title": format!("{HOSTILE}2") })).await.expect(200);
    api.delete("/tasks/1").await.expect(204);
    for mail in smtp.wait_for(3).await {
        assert_eq!(mail.to, "ada@example.com");
        let (head, _) = mail.raw.split_once("\r\n\r\n").unwrap();
        for line in head.split("\r\n") {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            let known = ["from", "to", "subject", "message-id", "date", "mime-version"];
            assert!(
                known.contains(&name.as_str())
                    || name.starts_with("content-")
                    || line.starts_with([' ', '\t']),
                "{line:?} in {head}"
            );
            assert!(line.is_ascii() && !line.contains(|c: char| c.is_control() && c != '\t'));
        }
        let text = unpacked(&mail.raw);
        assert!(text.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;𝄞"), "{text}");
        // As text it is text; as HTML there is none of it.
        let html = text.split("<!doctype html>").nth(1).unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }
    assert_eq!(smtp.mails().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn no_text_becomes_a_line_of_the_log() {
    let world = World::new().await;
    world.take_unsigned().await;
    world.declare().await;
    let amqp = world.amqp().await;
    let raw = Raw {
        body: HOSTILE.as_bytes().to_vec(),
        message_id: Some(HOSTILE.to_owned()),
        message_type: Some(HOSTILE.to_owned()),
        ..Raw::default()
    };
    amqp.publish(&world.queue, raw).await;
    let more = [("LOG_FORMAT", "text"), ("LOG", "debug")];
    world.run(&["work", "--name", "w\r\nforged"]).await.exited(2);
    let work = world.start(&["work", "--name", "w"], &more);
    eventually("the message is dead", || async {
        work.text().contains("outcome=\"dead\"").then_some(())
    })
    .await;
    for line in work.text().lines() {
        assert!(line.starts_with("20"), "a line of its own: {line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
