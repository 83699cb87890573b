//! Reads pages of tasks in batches: queries that arrive while one statement runs go together into
//! the next. A query that is alone doesn't wait for others.

use crate::domain::task::Task;
use crate::ground::batcher::Batcher;
use crate::store::task_list::TaskQuery;
use crate::store::{Store, StoreError, task_list};

/// How many pages one statement reads at most. More rarely wait, and each is up to a hundred tasks
/// in memory.
const BATCH: usize = 16;

/// Reads pages of the task list. See the module.
#[derive(Clone)]
pub struct TaskReader {
    store: Store,
    together: Batcher<TaskQuery, Result<Vec<Task>, StoreError>>,
}

impl TaskReader {
    /// A reader of this database.
    pub fn new(store: Store) -> TaskReader {
        let reading = store.clone();
        let together = Batcher::start_gathering(BATCH, move |queries: Vec<TaskQuery>| {
            let store = reading.clone();
            async move {
                match store.connection().await {
                    Ok(mut connection) => task_list::pages(&mut connection, &queries).await,
                    Err(error) => vec![Err(error); queries.len()],
                }
            }
        });
        TaskReader { store, together }
    }

    /// Reads one page.
    ///
    /// # Errors
    /// The database failed.
    pub async fn page(&self, query: &TaskQuery) -> Result<Vec<Task>, StoreError> {
        if task_list::can_go_together(query) {
            let ended = || Err(StoreError::Fault("the task that reads has failed".into()));
            return self.together.call(query.clone()).await.unwrap_or_else(ended);
        }
        task_list::page(&mut *self.store.connection().await?, query).await
    }
}
