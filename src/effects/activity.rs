//! The task's activity log.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::{DatabaseWork, Effect, EffectContext, Work};
use crate::domain::event::Event;
use crate::domain::processing::effect::EffectKey;
use crate::store::delivery::processed::EventRecord;
use crate::store::{Connection, StoreError, activity};

const NAME: &str = "activity";

/// An entry in the activity log, written in the database exactly once.
pub(super) struct Activity;

impl Effect for Activity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn applies(&self, _: &Event) -> bool {
        true
    }

    fn start(&self, _: &EffectContext) -> Option<Work> {
        Some(Work::Database(Arc::new(Activity)))
    }
}

#[async_trait]
impl DatabaseWork for Activity {
    async fn run_once(
        &self,
        connection: &mut Connection,
        events: &[(&Event, EventRecord)],
    ) -> Result<Vec<Uuid>, StoreError> {
        activity::record_once(connection, &EffectKey::only(NAME), events).await
    }
}
