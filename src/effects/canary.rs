//! The effect of canaries: it notes which worker took one, and when it was done.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::{DatabaseWork, Effect, EffectContext, Work};
use crate::domain::canary::{EFFECT, SENT};
use crate::domain::event::Event;
use crate::store::delivery::processed::EventRecord;
use crate::store::operation::canaries;
use crate::store::{Connection, StoreError};

/// A canary leaves nothing behind: no record, and, since this never fails while the database is
/// there, no failed attempt. One that was given up has no row any more, and then nothing is
/// written.
#[derive(Clone)]
pub(super) struct Canary {
    /// The worker's name.
    pub(super) worker: String,
}

impl Effect for Canary {
    fn name(&self) -> &'static str {
        EFFECT
    }

    fn applies(&self, event: &Event) -> bool {
        event.event_type == SENT
    }

    fn start(&self, _: &EffectContext) -> Option<Work> {
        Some(Work::Database(Arc::new(self.clone())))
    }
}

#[async_trait]
impl DatabaseWork for Canary {
    async fn run_once(
        &self,
        connection: &mut Connection,
        events: &[(&Event, EventRecord)],
    ) -> Result<Vec<Uuid>, StoreError> {
        let ids: Vec<Uuid> = events.iter().map(|(event, _)| event.metadata.event_id).collect();
        let done = async {
            canaries::take(connection, &ids, &self.worker).await?;
            canaries::finish(connection, &ids).await
        };
        match done.await {
            Ok(done) => Ok(done),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "a canary can't be marked as done; whoever sent it says so");
                Ok(Vec::new())
            }
        }
    }
}
