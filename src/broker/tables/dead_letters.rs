//! Dead letters in a table.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Queues, message, unavailable};
use crate::broker::{BrokerError, DeadLetterQueue, Delivery, Tag};
use crate::store::delivery::queue::{self, First};

/// How long an operator's command holds a letter. If the command is killed, the letter stays held
/// until then.
const HOLD: Duration = Duration::from_secs(60);

pub(super) struct Letters {
    shared: Arc<Queues>,
    queue: String,
    held: Vec<i64>,
}

impl Letters {
    pub(super) fn new(shared: Arc<Queues>, queue: &str) -> Letters {
        Letters { shared, queue: queue.to_owned(), held: Vec::new() }
    }
}

#[async_trait]
impl DeadLetterQueue for Letters {
    async fn waiting(&mut self) -> Result<u64, BrokerError> {
        let mut connection = self.shared.store.connection().await.map_err(unavailable)?;
        let due = queue::due(&mut connection, &self.queue).await.map_err(unavailable)?;
        Ok(u64::try_from(due).unwrap_or_default())
    }

    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        let mut connection = self.shared.store.connection().await.map_err(unavailable)?;
        let taken = queue::take(&mut connection, &self.queue, First::Added, HOLD, 1).await;
        let Some(row) = taken.map_err(unavailable)?.pop() else { return Ok(None) };
        self.held.push(row.id);
        Ok(Some(Delivery {
            tag: Tag::try_from(row.id).unwrap_or_default(),
            redelivered: row.deliveries > 1,
            message: message(row),
        }))
    }

    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError> {
        let id = i64::try_from(tag).unwrap_or_default();
        self.held.retain(|held| *held != id);
        self.shared.delete(vec![id]).await.map_err(unavailable)
    }

    async fn close(self: Box<Self>) {
        let released = async {
            let mut connection = self.shared.store.connection().await?;
            queue::renew(&mut connection, self.held.clone(), Duration::ZERO).await
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, "can't release dead letters that were read; their leases expire within a minute");
        }
    }
}
