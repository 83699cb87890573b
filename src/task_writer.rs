//! New tasks, written together: what waits while one statement runs goes with the next. Each keeps its
//! own answer and its own error. A lone task waits for nobody.
//!
//! A statement costs the database far more than a row in it, and a commit more than both: one for each
//! request is what would bound the API.

use crate::batcher::Batcher;
use crate::domain::event::NewEvent;
use crate::domain::task::Task;
use crate::store::{Connection, Store, StoreError, tasks};

/// How many tasks go into one statement. More are rarely waiting, and a long one keeps each of its
/// requests waiting for all.
const BATCH: usize = 64;

/// See the module.
#[derive(Clone)]
pub struct TaskWriter(Batcher<Task, Result<Task, StoreError>>);

impl TaskWriter {
    /// A writer into this database.
    pub fn new(store: Store) -> TaskWriter {
        TaskWriter(Batcher::start(BATCH, move |tasks| {
            let store = store.clone();
            async move { write(&store, tasks).await }
        }))
    }

    /// Adds a task and its event. To be awaited to its end.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if the user or the category doesn't exist, or the database fails: then
    /// the task is not there, unless the answer was lost with the database.
    pub async fn add(&self, task: Task) -> Result<Task, StoreError> {
        let ended = || Err(StoreError::Fault("the task that writes has failed".into()));
        self.0.call(task).await.unwrap_or_else(ended)
    }
}

/// Writes a batch; one that fails for what is in it is written one by one, so that each fault is
/// answered to the request that made it.
async fn write(store: &Store, tasks: Vec<Task>) -> Vec<Result<Task, StoreError>> {
    let mut connection = match store.connection().await {
        Ok(connection) => connection,
        Err(error) => return vec![Err(error); tasks.len()],
    };
    if tasks.len() == 1 {
        return write_each(&mut connection, tasks).await;
    }
    let batch: Vec<(Task, NewEvent)> =
        tasks.into_iter().map(|task| (task.clone(), NewEvent::created(task))).collect();
    match tasks::insert_all(&mut connection, &batch).await {
        Ok(ids) => {
            let answer = |(task, event): (Task, NewEvent)| match ids.get(&event.id) {
                Some(id) => Ok(Task { id: *id, ..task }),
                None => Err(tasks::owner_missing()),
            };
            batch.into_iter().map(answer).collect()
        }
        // Whether it was written is not known; nobody is told that it was.
        Err(error @ StoreError::Unavailable(_)) => vec![Err(error); batch.len()],
        Err(_) => {
            let tasks = batch.into_iter().map(|(task, _)| task).collect();
            write_each(&mut connection, tasks).await
        }
    }
}

async fn write_each(
    connection: &mut Connection,
    tasks: Vec<Task>,
) -> Vec<Result<Task, StoreError>> {
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(tasks::insert(connection, task).await);
    }
    answers
}
