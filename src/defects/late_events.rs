//! The event of a new task is written after the task's commit.

use std::time::Duration;

use super::{Defect, has};
use crate::store::delivery::defective;
use crate::store::{Connection, Store, StoreError};

/// How long after the task a late event is written: as long as a broker may take to confirm.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes events out of the transaction that wrote them, and writes them later.
#[derive(Clone)]
pub struct LateEvents {
    store: Store,
    wanted: bool,
}

impl LateEvents {
    /// Does so if this mistake is wanted.
    pub fn new(store: Store) -> LateEvents {
        LateEvents { store, wanted: has(Defect::PublishAfterCommit) }
    }

    /// Called in the transaction that has written this new task and its event.
    ///
    /// # Errors
    /// The database fails.
    pub async fn withhold(
        &self,
        connection: &mut Connection,
        task_id: i64,
    ) -> Result<(), StoreError> {
        if !self.wanted {
            return Ok(());
        }
        if let Some(event) = defective::withhold(connection, task_id).await? {
            let store = self.store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PAUSE).await;
                let written =
                    async { defective::add_late(&mut *store.connection().await?, event).await };
                if let Err(error) = written.await {
                    tracing::warn!(%error, "the deliberately late event could not be written");
                }
            });
        }
        Ok(())
    }
}
