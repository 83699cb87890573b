use super::*;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

#[tokio::test]
async fn what_gathers_while_a_batch_runs_goes_together_and_each_gets_its_own_answer() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (seen, gate) = (sizes.clone(), Arc::new(Notify::new()));
    let opened = gate.clone();
    let batcher = Batcher::start(8, move |items: Vec<u32>| {
        seen.lock().unwrap().push(items.len());
        let opened = opened.clone();
        async move {
            opened.notified().await;
            items.into_iter().map(|i| i * 2).collect()
        }
    });
    let call = |i| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.call(i).await })
    };
    let mut calls = vec![call(0)];
    while sizes.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // The first is in a batch of its own; these gather.
    calls.extend((1..7).map(call));
    while batcher.0.queue().waiting.len() < 6 {
        tokio::task::yield_now().await;
    }
    gate.notify_one();
    while sizes.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    gate.notify_one();
    for (i, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Some(i as u32 * 2));
    }
    assert_eq!(*sizes.lock().unwrap(), [1, 6]);
}

#[tokio::test]
async fn the_others_are_served_where_one_is_dropped_or_panics() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let batcher = Batcher::start(1, move |items: Vec<u32>| {
        let opened = opened.clone();
        async move {
            assert!(items != [2], "on purpose");
            if items == [0] {
                opened.notified().await;
            }
            items
        }
    });
    let call = |i| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.call(i).await })
    };
    let dropped = call(0);
    while !batcher.0.queue().running {
        tokio::task::yield_now().await;
    }
    let calls = [call(1), call(2), call(3)];
    while batcher.0.queue().waiting.len() < 3 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(answers, [Some(1), None, Some(3)]);
    // No batch is running any more, and the next caller runs its own again.
    assert_eq!(batcher.call(4).await, Some(4));
    assert_eq!(batcher.call(2).await, None);
    assert_eq!(batcher.call(5).await, Some(5));
}

/// On one thread, as each thread that serves has a runtime of its own.
#[tokio::test]
async fn those_who_come_together_go_together_where_that_is_wanted() {
    for (gathers, wanted) in [(true, vec![7]), (false, vec![1, 6])] {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let batcher = Batcher::new(8, gathers, move |items: Vec<u32>| {
            seen.lock().unwrap().push(items.len());
            async move {
                tokio::task::yield_now().await;
                items.into_iter().map(|i| i * 2).collect()
            }
        });
        let calls: Vec<_> = (0..7_u32)
            .map(|i| {
                let batcher = batcher.clone();
                tokio::spawn(async move { (i, batcher.call(i).await) })
            })
            .collect();
        for call in calls {
            let (i, answer) = call.await.unwrap();
            assert_eq!(answer, Some(i * 2));
        }
        assert_eq!(*sizes.lock().unwrap(), wanted, "gathers: {gathers}");
        // A lone item has no others to go with.
        assert_eq!(batcher.call(9).await, Some(18));
    }
}

/// Some callers come while others are being answered; then all ask together.
#[tokio::test]
async fn those_who_are_answered_ask_again_with_those_who_wait() {
    let (sizes, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let (seen, opened) = (sizes.clone(), gate.clone());
    let batcher = Batcher::start_gathering(8, move |items: Vec<u32>| {
        let first = seen.lock().unwrap().is_empty();
        seen.lock().unwrap().push(items.len());
        let opened = opened.clone();
        async move {
            if first {
                opened.notified().await;
            }
            items
        }
    });
    let ask_thrice = |i| {
        let batcher = batcher.clone();
        tokio::spawn(async move {
            for _ in 0..3 {
                assert_eq!(batcher.call(i).await, Some(i));
            }
        })
    };
    let mut callers: Vec<_> = (0..3).map(ask_thrice).collect();
    while sizes.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    callers.extend((3..7).map(ask_thrice));
    while batcher.0.queue().waiting.len() < 4 {
        tokio::task::yield_now().await;
    }
    gate.notify_one();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(*sizes.lock().unwrap(), [3, 7, 7, 4]);
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_not_asked() {
    for (gathers, wanted) in [(true, vec![1, 3]), (false, vec![1, 2, 3])] {
        let gate = Arc::new(Notify::new());
        let (opened, asked) = (gate.clone(), Arc::new(Mutex::new(Vec::new())));
        let seen = asked.clone();
        let batcher = Batcher::new(8, gathers, move |items: Vec<u32>| {
            seen.lock().unwrap().extend(items.clone());
            let opened = opened.clone();
            async move {
                opened.notified().await;
                items
            }
        });
        let call = |i| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.call(i).await })
        };
        let first = call(1);
        while asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let (gone, last) = (call(2), call(3));
        while batcher.0.queue().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err());
        gate.notify_one();
        assert_eq!(first.await.unwrap(), Some(1));
        gate.notify_one();
        assert_eq!(last.await.unwrap(), Some(3));
        assert_eq!(*asked.lock().unwrap(), wanted, "gathers: {gathers}");
    }
}
