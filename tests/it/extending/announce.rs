//! An effect of your own: finished tasks are announced in chat rooms.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use taskd::domain::event::Event;
use taskd::domain::processing::failure::Failure;
use taskd::domain::task::Status;
use taskd::effects::{Effect, EffectContext, ExternalWork, Outcome, Prepared, Target, Work};
use taskd::store::StoreError;

/// Posts to chat rooms that a task was finished: to the room of all, and to that of its category.
#[derive(Clone)]
pub struct Announce {
    pub client: reqwest::Client,
    /// The chat's URL; a room is a path below it.
    pub chat: String,
}

impl Effect for Announce {
    fn name(&self) -> &'static str {
        "announce"
    }

    fn applies(&self, event: &Event) -> bool {
        event.task().is_some_and(|task| task.status == Status::Completed)
    }

    fn start(&self, _: &EffectContext) -> Option<Work> {
        Some(Work::External(Arc::new(self.clone())))
    }
}

#[async_trait]
impl ExternalWork for Announce {
    // Each room has its own record: one that fails is tried again without bothering the others.
    fn targets(&self, event: &Event) -> Vec<Target> {
        let category = event.task().and_then(|task| task.category_id);
        let category = category.map(|id| format!("category-{id}"));
        let rooms = ["all".to_owned()].into_iter().chain(category);
        rooms.filter_map(|room| Target::named(&room)).collect()
    }

    async fn prepare(&self, event: &Event, room: &Target) -> Result<Prepared, StoreError> {
        let title = event.task().map_or_else(String::new, |task| task.title);
        let request = self
            .client
            .post(format!("{}/{}", self.chat, room.name().unwrap_or("all")))
            // The same for each repetition, so that the other side can tell one when it sees it.
            .header("Idempotency-Key", event.metadata.event_id.to_string())
            .json(&json!({ "text": format!("Finished: {title}") }));
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
