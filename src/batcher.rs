//! One statement for all who wait: callers hand in an item each, and whatever has gathered while
//! the last batch ran goes together. A lone item never waits for company.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// Calls that are answered together. Its task ends when the last clone is dropped.
pub struct Batcher<T, R> {
    sender: mpsc::Sender<(T, oneshot::Sender<R>)>,
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Batcher { sender: self.sender.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Starts a task that calls `run` with batches of at most `limit` items, one batch at a time.
    /// `run` answers each item at its place.
    pub fn start<F, Fut>(limit: usize, mut run: F) -> Batcher<T, R>
    where
        F: FnMut(Vec<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Vec<R>> + Send,
    {
        let (sender, mut receiver) = mpsc::channel::<(T, oneshot::Sender<R>)>(limit);
        tokio::spawn(async move {
            let mut waiting = Vec::with_capacity(limit);
            while receiver.recv_many(&mut waiting, limit).await > 0 {
                let (items, callers): (Vec<T>, Vec<_>) = waiting.drain(..).unzip();
                for (caller, answer) in callers.into_iter().zip(run(items).await) {
                    // A caller that has gone needs no answer.
                    let _ = caller.send(answer);
                }
            }
        });
        Batcher { sender }
    }

    /// Hands in an item and waits for its answer; `None` if `run` gave none or panicked.
    pub async fn call(&self, item: T) -> Option<R> {
        let (caller, answer) = oneshot::channel();
        self.sender.send((item, caller)).await.ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
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
        // The first is in a batch of its own; these gather in the channel, which holds eight.
        calls.extend((1..7).map(call));
        while batcher.sender.capacity() > 2 {
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
}
