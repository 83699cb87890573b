//! One statement for many callers: each hands in an item, and all that have gathered while the last
//! batch ran go together. A lone item never waits for others.
//!
//! A caller that finds no batch running runs its own item in its own task: waking another task and
//! being woken by it takes longer than a short statement does. Items that come meanwhile are served
//! by a task that ends with the last of them.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Answers calls in batches.
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
    /// Where the batches of waiting callers run.
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
enum Submission<T: Send + 'static, R: Send + 'static> {
    /// It goes with the next batch.
    Waiting(oneshot::Receiver<R>),
    /// Its caller runs it alone.
    Own(T, RunGuard<T, R>),
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Calls `run` with batches of at most `limit` items, one batch at a time. `run` returns the
    /// answer to each item at the same index. Call this inside a runtime.
    pub fn start<F, Fut>(limit: usize, run: F) -> Batcher<T, R>
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        Batcher::new(limit, false, run)
    }

    /// Like `start`, but before each batch it lets everything else run that is ready in the
    /// runtime: callers that have just been woken hand in their items then, and all go together.
    /// Items that nobody waits for any more are left out. For queries, which cost as much for one
    /// as for many, and come many at a time.
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

    /// Hands in an item and waits for its answer; `None` if `run` gave none or panicked. If this
    /// future is dropped, the item may be done or not, and the others are served all the same.
    pub async fn call(&self, item: T) -> Option<R> {
        match self.0.wait_or_run(item) {
            Submission::Waiting(answer) => answer.await.ok(),
            Submission::Own(mut item, guard) => {
                if self.0.gathers {
                    tokio::task::yield_now().await;
                    match self.0.join_those_who_wait(item) {
                        Ok(answer) => {
                            drop(guard);
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

    fn wait_or_run(self: &Arc<Self>, item: T) -> Submission<T, R> {
        let mut queue = self.queue();
        if queue.running {
            return Submission::Waiting(queue.wait(item));
        }
        queue.running = true;
        Submission::Own(item, RunGuard(Arc::clone(self)))
    }

    /// Adds the item to those that wait, if there are any.
    fn join_those_who_wait(&self, item: T) -> Result<oneshot::Receiver<R>, T> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() { Err(item) } else { Ok(queue.wait(item)) }
    }

    /// Returns no answers if `run` panics.
    async fn run(&self, items: Vec<T>) -> Vec<R> {
        let ended = AssertUnwindSafe((self.run)(items)).catch_unwind().await;
        ended.unwrap_or_else(|_: Box<dyn Any + Send>| Vec::new())
    }

    /// Runs batches until nobody waits.
    async fn serve(self: Arc<Self>) {
        loop {
            if self.gathers {
                tokio::task::yield_now().await;
            }
            let batch: Vec<_> = {
                let mut queue = self.queue();
                if self.gathers {
                    queue.waiting.retain(|(_, caller)| !caller.is_closed());
                }
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

/// The right to run a batch. When it is dropped, for whatever reason, those who wait have their
/// turn.
struct RunGuard<T: Send + 'static, R: Send + 'static>(Arc<Inner<T, R>>);

impl<T: Send + 'static, R: Send + 'static> Drop for RunGuard<T, R> {
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
mod tests;
