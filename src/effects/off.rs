//! What an effect does that is off: nothing, and it says so.

use async_trait::async_trait;

use super::{ExternalWork, Outcome, Prepared, Target};
use crate::domain::event::Event;
use crate::store::StoreError;

/// Work of an effect that is off, for events that had it when it was on: they must not wait for it
/// for ever.
pub(super) struct Off;

#[async_trait]
impl ExternalWork for Off {
    async fn prepare(&self, _: &Event, _: &Target) -> Result<Prepared, StoreError> {
        let why = "the effect is off in the worker's configuration".to_owned();
        Ok(Prepared::run(async { Ok(Outcome::Skipped(why)) }))
    }
}
