use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A receiver on the loopback device that answers each request with these bytes, and counts them.
fn receiver(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        }
    });
    (url, count)
}

fn client(allowed: &str) -> WebhookClient {
    WebhookClient::new(Reach::with(allowed.parse().unwrap()), &Tls::default()).unwrap()
}

fn delivery(url: &str) -> Delivery {
    let secrets = vec![SigningSecret::of_bytes(vec![7; 32])];
    Delivery { url: url.to_owned(), id: "id".to_owned(), body: Bytes::from_static(b"{}"), secrets }
}

async fn answered(answer: &'static [u8]) -> Attempt {
    client("127.0.0.0/8").send(&delivery(&receiver(answer).0)).await
}

fn why(attempt: &Attempt) -> &str {
    match &attempt.outcome {
        Outcome::Failed { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_means_what_its_status_says() {
    let done = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await;
    assert_eq!((done.outcome, done.status, &*done.answer), (Outcome::Done, Some(200), "fine"));
    let done = answered(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(done.outcome, Outcome::Done);
    let gone = answered(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(gone.outcome, Outcome::Gone);
    let busy =
        answered(b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n").await;
    let wait = Some(Duration::from_secs(120));
    assert_eq!(busy.outcome, Outcome::Failed { why: "answered 503".to_owned(), wait });
    let (elsewhere, asked) = receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let answer = format!("HTTP/1.1 307 x\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
    let moved = answered(Box::leak(answer.into_bytes().into_boxed_slice())).await;
    assert!(why(&moved).contains("307") && why(&moved).contains("redirect"), "{moved:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_receiver_that_lies_or_breaks_off_costs_nothing_but_its_delivery() {
    // It has said 2xx, whatever comes after.
    let short = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbut").await;
    assert_eq!((short.outcome, &*short.answer), (Outcome::Done, "but"));
    let long: &[u8] = Box::leak(
        [b"HTTP/1.1 500 x\r\nContent-Length: 900000\r\n\r\n".as_slice(), &[b'x'; 900_000]]
            .concat()
            .into_boxed_slice(),
    );
    let long = answered(long).await;
    assert_eq!((long.answer.len(), why(&long)), (ANSWER_BYTES, "answered 500"));
    let nothing = answered(b"").await;
    assert!(nothing.status.is_none() && !why(&nothing).is_empty());
    let nonsense = answered(b"220 mail.example.com ESMTP\r\n").await;
    assert!(nonsense.status.is_none(), "{nonsense:?}");
    let binary = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\0\xff\xfe").await;
    assert_eq!(binary.answer, "\u{fffd}\u{fffd}\u{fffd}");
}

#[tokio::test]
async fn one_that_hangs_or_is_not_there_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = client("127.0.0.0/8").within(Duration::from_millis(200));
    let hangs = client.send(&delivery(&url)).await;
    assert_eq!(why(&hangs), "no answer within 0.2 s");
    drop(listener);
    let refuses = client.send(&delivery(&url)).await;
    assert!(why(&refuses).contains("refused"), "{refuses:?}");
    // The URL, in which there may be a secret, is told to nobody.
    assert!(!format!("{refuses:?}").contains("127.0.0.1"), "{refuses:?}");
}

#[tokio::test]
async fn nothing_is_connected_to_that_is_not_allowed() {
    let (url, asked) = receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = url.trim_end_matches("/hook").rsplit(':').next().unwrap();
    for (allowed, url) in [
        ("", url.clone()),
        ("10.0.0.0/8", url.clone()),
        // A name that leads to the loopback device.
        ("10.0.0.0/8", format!("http://localhost:{port}/")),
        ("", format!("https://localhost:{port}/")),
        ("", format!("https://127.0.0.1:{port}/")),
        ("", format!("https://[::ffff:127.0.0.1]:{port}/")),
    ] {
        let refused = client(allowed).send(&delivery(&url)).await;
        let why = why(&refused);
        assert!(
            why.contains("internet") || why.contains("https") || why.contains("WEBHOOK_ALLOW"),
            "{url}: {why}"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let allowed =
        client("127.0.0.0/8,::1").send(&delivery(&format!("http://localhost:{port}/"))).await;
    assert_eq!(allowed.outcome, Outcome::Done);
}

#[test]
fn of_the_addresses_of_a_name_only_the_public_ones_are_known() {
    let found = ["127.0.0.1:0", "8.8.8.8:0", "[::1]:0", "169.254.169.254:0"];
    let found = || found.iter().map(|text| text.parse::<SocketAddr>().unwrap());
    let known = |reach: &Reach, encrypted| {
        admitted(found(), reach, encrypted)
            .map(|found| found.map(|a| a.ip().to_string()).collect::<Vec<_>>())
    };
    assert_eq!(known(&Reach::default(), true).unwrap(), ["8.8.8.8"]);
    assert!(known(&Reach::default(), false).is_err());
    let allowed = Reach::with("127.0.0.0/8".parse().unwrap());
    assert_eq!(known(&allowed, false).unwrap(), ["127.0.0.1"]);
    assert_eq!(known(&allowed, true).unwrap(), ["127.0.0.1", "8.8.8.8"]);
}

#[test]
fn a_receiver_may_ask_for_a_pause() {
    let now = DateTime::from_timestamp(1_767_346_200, 0).unwrap();
    for (text, wait) in [
        ("0", Some(0)),
        (" 30 ", Some(30)),
        ("99999999", Some(24 * 3_600)),
        ("Fri, 02 Jan 2026 09:31:00 GMT", Some(60)),
        ("Fri, 02 Jan 2026 09:00:00 GMT", None),
        ("soon", None),
        ("-1", None),
    ] {
        assert_eq!(wait_of(text, now), wait.map(Duration::from_secs), "{text}");
    }
}
