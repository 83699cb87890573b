//! Inserts new tasks in batches: tasks that arrive while one statement runs go together into the
//! next. Each request gets its own result or error. A task that is alone doesn't wait for others.
//! The events of the tasks are handed over to the publisher, and what is cached of the lists ends.
//!
//! A statement costs the database far more than one more row in it, and a commit costs more than
//! both. With a statement and a commit for each request, these would limit the API.

use crate::cache::Scope;
use crate::domain::event::{NewEvent, Origin};
use crate::domain::task::{Task, events};
use crate::ground::batcher::Batcher;
use crate::publisher::{Handover, Ticket};
use crate::read_cache::ReadCache;
use crate::store::{Connection, Store, StoreError, tasks, unless_in_conflict};

/// How many tasks go into one statement at most. More rarely wait, and all requests of a statement
/// wait for its end.
const BATCH: usize = 64;

/// Inserts new tasks. See the module.
#[derive(Clone)]
pub struct TaskWriter {
    batches: Batcher<(Task, Origin), Result<Task, StoreError>>,
    #[cfg(feature = "defects")]
    late: crate::defects::LateEvents,
}

impl TaskWriter {
    /// A writer to this database, which hands events over to this publisher and ends what this
    /// cache has of the lists.
    pub fn new(store: Store, publisher: Handover, cache: ReadCache) -> TaskWriter {
        #[cfg(feature = "defects")]
        let late = crate::defects::LateEvents::new(store.clone());
        let batches = Batcher::start(BATCH, move |tasks| {
            let (store, publisher, cache) = (store.clone(), publisher.clone(), cache.clone());
            async move {
                let any =
                    |answers: &Vec<Result<Task, StoreError>>| answers.iter().any(Result::is_ok);
                cache.write(vec![Scope::TaskLists], write(&store, &publisher, tasks), any).await
            }
        });
        TaskWriter {
            batches,
            #[cfg(feature = "defects")]
            late,
        }
    }

    /// Adds a task and its event. Don't drop the future before it is done.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if the user or the category doesn't exist, or the database's error.
    /// Then the task was not added, unless the answer was lost with the connection.
    pub async fn add(&self, task: Task, origin: Origin) -> Result<Task, StoreError> {
        let ended = || Err(StoreError::Fault("the task that writes has failed".into()));
        self.batches.call((task, origin)).await.unwrap_or_else(ended)
    }
}

impl TaskWriter {
    /// Adds a task and its event in a transaction of the caller, alone. The event stays in the
    /// outbox: the caller wakes the publisher after the commit.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if the user or the category doesn't exist, or the database's error.
    pub async fn add_within(
        &self,
        connection: &mut Connection,
        task: Task,
        origin: Origin,
    ) -> Result<Task, StoreError> {
        let event = events::created(&task, origin);
        let id = tasks::insert(connection, &task, &event, None).await?;
        #[cfg(feature = "defects")]
        self.late.withhold(connection, id).await?;
        Ok(Task { id, ..task })
    }
}

/// Writes a batch. If it fails because of a task in it, the tasks are written one by one, so that
/// each request gets the error of its own task.
async fn write(
    store: &Store,
    publisher: &Handover,
    tasks: Vec<(Task, Origin)>,
) -> Vec<Result<Task, StoreError>> {
    let mut connection = match store.connection().await {
        Ok(connection) => connection,
        Err(error) => return vec![Err(error); tasks.len()],
    };
    let with_event = |(task, origin): (Task, Origin)| {
        let event = events::created(&task, origin);
        (task, event)
    };
    let mut batch: Vec<(Task, NewEvent)> = tasks.into_iter().map(with_event).collect();
    if batch.len() == 1 {
        return write_each(&mut connection, publisher, batch).await;
    }
    let ticket = publisher.ticket(batch.len());
    match tasks::insert_all(&mut connection, &batch, ticket.lease()).await {
        Ok(ids) => {
            for (task, event) in &mut batch {
                let Some(id) = ids.get(&event.id) else { continue };
                task.id = *id;
                event.assign(*id);
            }
            let written = |event: &NewEvent| ids.contains_key(&event.id);
            ticket.hand_over(batch.iter().map(|(_, event)| event).filter(|event| written(event)));
            let answer = |(task, event)| match written(&event) {
                true => Ok(task),
                false => Err(tasks::owner_missing()),
            };
            batch.into_iter().map(answer).collect()
        }
        // It is not known whether the tasks were written, so no request is told that they were.
        Err(error @ StoreError::Unavailable(_)) => vec![Err(error); batch.len()],
        Err(_) => write_each(&mut connection, publisher, batch).await,
    }
}

async fn write_each(
    connection: &mut Connection,
    publisher: &Handover,
    batch: Vec<(Task, NewEvent)>,
) -> Vec<Result<Task, StoreError>> {
    let mut answers = Vec::with_capacity(batch.len());
    for (task, event) in batch {
        answers.push(write_one(connection, publisher.ticket(1), task, event).await);
    }
    answers
}

async fn write_one(
    connection: &mut Connection,
    ticket: Ticket,
    mut task: Task,
    mut event: NewEvent,
) -> Result<Task, StoreError> {
    let lease = ticket.lease();
    let inserted = unless_in_conflict!(tasks::insert(connection, &task, &event, lease).await);
    let id = inserted?;
    task.id = id;
    event.assign(id);
    ticket.hand_over([&event]);
    Ok(task)
}
