use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::*;

/// A pulse of what the test sends, one answer for each question; and how often it was asked.
fn pulse() -> (Pulse, mpsc::UnboundedSender<Result<Fingerprint, StoreError>>, Arc<AtomicUsize>) {
    let (answers, asked) = mpsc::unbounded_channel();
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let ask = move || -> BoxFuture<'static, Result<Fingerprint, StoreError>> {
        counting.fetch_add(1, Ordering::SeqCst);
        let asked = Arc::clone(&asked);
        Box::pin(async move { asked.lock().await.recv().await.unwrap() })
    };
    let shutdown = Shutdown::new(Duration::ZERO);
    (Pulse::asking(Box::new(ask), Duration::from_millis(1), shutdown), answers, count)
}

fn events(events: i64) -> Result<Fingerprint, StoreError> {
    Ok(Fingerprint { events, ..Fingerprint::default() })
}

const EVENTS: Topics = Topics {
    events: true,
    work: false,
    letters: false,
    gates: false,
    processes: false,
    webhooks: false,
};

#[tokio::test]
async fn each_subscriber_hears_of_each_change_once_and_of_several_together() {
    let (pulse, answers, _) = pulse();
    let (mut one, mut other) = (pulse.subscribe(), pulse.subscribe());
    answers.send(events(1)).unwrap();
    assert_eq!(one.changed().await, Some(Topics::ALL), "what was before, nobody knows");
    answers.send(events(1)).unwrap();
    answers.send(events(2)).unwrap();
    assert_eq!(one.changed().await, Some(EVENTS));
    answers.send(Ok(Fingerprint { work: 9, events: 2, ..Fingerprint::default() })).unwrap();
    assert_eq!(one.changed().await, Some(Topics { events: false, work: true, ..EVENTS }));
    assert_eq!(other.changed().await, Some(Topics::ALL), "all in one");
    assert_eq!(other.changed().now_or_never(), None);
    let mut late = pulse.subscribe();
    assert_eq!(late.changed().now_or_never(), None, "it knows what was before it");
}

#[tokio::test]
async fn that_nobody_can_look_is_told_once_and_so_is_the_next_look() {
    let (pulse, answers, _) = pulse();
    let mut one = pulse.subscribe();
    answers.send(events(1)).unwrap();
    one.changed().await.unwrap();
    let away = || Err(StoreError::Unavailable("away".to_owned()));
    answers.send(away()).unwrap();
    assert_eq!(one.changed().await, Some(Topics::ALL));
    answers.send(away()).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(one.changed().now_or_never(), None);
    answers.send(events(1)).unwrap();
    assert_eq!(one.changed().await, Some(Topics::ALL), "what changed meanwhile, nobody knows");
    answers.send(events(2)).unwrap();
    assert_eq!(one.changed().await, Some(EVENTS));
}

#[tokio::test]
async fn nobody_is_asked_while_nobody_watches_and_what_changed_meanwhile_is_told() {
    let (pulse, answers, count) = pulse();
    tokio::task::yield_now().await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let mut one = pulse.subscribe();
    answers.send(events(1)).unwrap();
    one.changed().await.unwrap();
    drop(one);
    // One question may be under way when the last subscriber goes.
    answers.send(events(1)).unwrap();
    while pulse.0.state().watching {
        tokio::task::yield_now().await;
    }
    let asked = count.load(Ordering::SeqCst);
    assert!(asked <= 2, "{asked}");
    let mut again = pulse.subscribe();
    while answers.send(events(3)).is_ok() && again.changed().now_or_never() != Some(Some(EVENTS)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_ends_when_the_process_stops() {
    let (pulse, _answers, _) = pulse();
    let mut one = pulse.subscribe();
    let (ended, ()) = tokio::join!(one.changed(), async { pulse.0.shutdown.stop() });
    assert_eq!(ended, None);
    let mut late = pulse.subscribe();
    assert_eq!(late.changed().await, None);
}
