//! One statement for all who wait: callers hand in an item each, and whatever has gathered while
//! the last batch ran goes together. A lone item never waits for company.
//!
//! A caller who finds nobody at work does its own item in its own task: another's would have to be
//! woken for it and wake it again, which takes longer than a short statement does. Those who come
//! meanwhile are served by a task that ends with the last of them.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Calls that are answered together.
pub struct Batcher<T, R>(Arc<Inner<T, R>>);

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Batcher(Arc::clone(&self.0))
    }
}

struct Inner<T, R> {
    limit: usize,
    gathers: bool,
    run: Run<T, R>,
    /// Where those are served who had to wait.
    runtime: Handle,
    queue: Mutex<Queue<T, R>>,
}

type Run<T, R> = Box<dyn Fn(Vec<T>) -> BoxFuture<'static, Vec<R>> + Send + Sync>;

struct Queue<T, R> {
    /// Whether a batch is running.
    running: bool,
    waiting: Vec<(T, oneshot::Sender<R>)>,
}

impl<T, R> Queue<T, R> {
    fn wait(&mut self, item: T) -> oneshot::Receiver<R> {
        let (caller, answer) = oneshot::channel();
        self.waiting.push((item, caller));
        answer
    }
}

/// What becomes of an item.
enum Place<T: Send + 'static, R: Send + 'static> {
    /// It goes with the next batch.
    Waiting(oneshot::Receiver<R>),
    /// It is its caller's to do.
    Own(T, Turn<T, R>),
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Calls `run` with batches of at most `limit` items, one batch at a time. `run` answers each item
    /// at its place. To be called inside a runtime.
    pub fn start<F, Fut>(limit: usize, run: F) -> Batcher<T, R>
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        Batcher::new(limit, false, run)
    }

    /// The same, but before a caller does its own item it lets whatever else is ready in its runtime go on. Those
    /// who have been woken with it hand in theirs then, and all go together. For what costs as much for one as
    /// for many, and is asked for by many at a time.
    pub fn start_gathering<F, Fut>(limit: usize, run: F) -> Batcher<T, R>
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        Batcher::new(limit, true, run)
    }

    fn new<F, Fut>(limit: usize, gathers: bool, run: F) -> Batcher<T, R>
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        Batcher(Arc::new(Inner {
            limit,
            gathers,
            run: Box::new(move |items| run(items).boxed()),
            runtime: Handle::current(),
            queue: Mutex::new(Queue { running: false, waiting: Vec::new() }),
        }))
    }

    /// Hands in an item and waits for its answer; `None` if `run` gave none or panicked. Where it is
    /// dropped, the item may be done or not, and the others are served all the same.
    pub async fn call(&self, item: T) -> Option<R> {
        match self.0.wait_or_take_turn(item) {
            Place::Waiting(answer) => answer.await.ok(),
            Place::Own(item, turn) => {
                let mut item = item;
                if self.0.gathers {
                    tokio::task::yield_now().await;
                    match self.0.join_those_who_wait(item) {
                        Ok(answer) => {
                            drop(turn);
                            return answer.await.ok();
                        }
                        Err(own) => item = own,
                    }
                }
                self.0.run(vec![item]).await.pop()
            }
        }
    }
}

impl<T: Send + 'static, R: Send + 'static> Inner<T, R> {
    fn queue(&self) -> MutexGuard<'_, Queue<T, R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_or_take_turn(self: &Arc<Self>, item: T) -> Place<T, R> {
        let mut queue = self.queue();
        if queue.running {
            return Place::Waiting(queue.wait(item));
        }
        queue.running = true;
        Place::Own(item, Turn(Arc::clone(self)))
    }

    /// If anybody does.
    fn join_those_who_wait(&self, item: T) -> Result<oneshot::Receiver<R>, T> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() { Err(item) } else { Ok(queue.wait(item)) }
    }

    /// No answers, if it panics.
    async fn run(&self, items: Vec<T>) -> Vec<R> {
        let ended = AssertUnwindSafe((self.run)(items)).catch_unwind().await;
        ended.unwrap_or_else(|_: Box<dyn Any + Send>| Vec::new())
    }

    /// Serves those who wait, until nobody does.
    async fn serve(self: Arc<Self>) {
        loop {
            let batch: Vec<_> = {
                let mut queue = self.queue();
                let count = queue.waiting.len().min(self.limit);
                queue.running = count > 0;
                queue.waiting.drain(..count).collect()
            };
            if batch.is_empty() {
                return;
            }
            let (items, callers): (Vec<T>, Vec<_>) = batch.into_iter().unzip();
            for (caller, answer) in callers.into_iter().zip(self.run(items).await) {
                // A caller that has gone needs no answer.
                let _ = caller.send(answer);
            }
        }
    }
}

/// The right to run a batch. Its end, however it comes, is the turn of those who wait.
struct Turn<T: Send + 'static, R: Send + 'static>(Arc<Inner<T, R>>);

impl<T: Send + 'static, R: Send + 'static> Drop for Turn<T, R> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        if queue.waiting.is_empty() {
            queue.running = false;
            return;
        }
        drop(queue);
        self.0.runtime.spawn(Arc::clone(&self.0).serve());
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
        // Nobody is at work any more, and the next does its own again.
        assert_eq!(batcher.call(4).await, Some(4));
        assert_eq!(batcher.call(2).await, None);
        assert_eq!(batcher.call(5).await, Some(5));
    }

    /// On one thread, as each that serves is.
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
            // A lone one has nobody to go with.
            assert_eq!(batcher.call(9).await, Some(18));
        }
    }
}
