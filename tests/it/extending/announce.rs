//! An effect of your own: finished tasks are announced in chat rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use taskd::domain::event::Event;
use taskd::domain::processing::failure::Failure;
use taskd::domain::task::Status;
use taskd::effects::{Effect, ExternalWork, Outcome, Prepared, Wiring, Work};
use taskd::store::StoreError;

/// Posts to the webhook of each room that a task was finished.
#[derive(Clone)]
pub struct Announce {
    pub client: reqwest::Client,
    /// The webhooks' URLs by the rooms' names.
    pub rooms: BTreeMap<String, String>,
}

impl Effect for Announce {
    fn name(&self) -> &'static str {
        "announce"
    }

    fn applies(&self, event: &Event) -> bool {
        event.payload.task.status == Status::Completed
    }

    fn start(&self, _: &Wiring) -> Work {
        Work::External(Arc::new(self.clone()))
    }
}

#[async_trait]
impl ExternalWork for Announce {
    // Each room has its own record: one that fails is tried again without bothering the others.
    fn targets(&self, _: &Event) -> Vec<Option<Arc<str>>> {
        self.rooms.keys().map(|room| Some(room.as_str().into())).collect()
    }

    async fn prepare(&self, event: &Event, room: Option<&str>) -> Result<Prepared, StoreError> {
        let Some(url) = room.and_then(|room| self.rooms.get(room)) else {
            return Ok(Prepared::run(async { Ok(Outcome::Skipped("the room is gone".into())) }));
        };
        let request = self
            .client
            .post(url)
            // The same for each repetition, so that the other side can tell one when it sees it.
            .header("Idempotency-Key", event.metadata.event_id.to_string())
            .json(&json!({ "text": format!("Finished: {}", event.payload.task.title) }));
        Ok(Prepared::run(async move {
            let away = |error: reqwest::Error| Failure::transient(error.to_string());
            let status = request.send().await.map_err(away)?.status();
            match status.as_u16() {
                200..300 => Ok(Outcome::Done),
                408 | 429 | 500.. => Err(Failure::transient(format!("the room said {status}"))),
                _ => Err(Failure::permanent(format!("the room said {status}"))),
            }
        }))
    }
}
