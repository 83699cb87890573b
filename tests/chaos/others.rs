//! A queue of somebody else, which is bound to the exchange and takes whatever comes.

use std::collections::HashMap;

use amqprs::FieldTable;

use super::system::System;

/// Where events are published for others.
pub const EXCHANGE: &str = "others";
const QUEUE: &str = "others.all";
/// The policy that makes the queue refuse: nothing is taken out of it during a run.
const FULL: &str = "others-full";
const FULL_RULES: &str = r#"{"max-length":1,"overflow":"reject-publish"}"#;

impl System {
    /// Makes the queue and binds it, past the proxy. It outlives the broker's crashes.
    pub async fn bind_others(&self) {
        let amqp = self.amqp().await;
        let mut quorum = FieldTable::new();
        quorum.insert("x-queue-type".try_into().unwrap(), "quorum".to_owned().into());
        amqp.declare(QUEUE, quorum).await;
        amqp.bind(QUEUE, EXCHANGE, "#").await;
        amqp.close().await;
    }

    /// Lets the queue refuse messages, or take them again.
    pub fn fill_others(&self, full: bool) {
        match full {
            true => self.private.set_policy(FULL, "^others", FULL_RULES),
            false => self.private.clear_policy(FULL),
        }
    }

    /// How often the queue has got each event, by the event's id. What it had is taken out of it.
    pub async fn others(&self) -> HashMap<String, usize> {
        let amqp = self.amqp().await;
        while let Some(message) = amqp.take(QUEUE).await {
            let id = message.message_id.unwrap_or_default();
            *self.others.lock().unwrap().entry(id).or_default() += 1;
        }
        amqp.close().await;
        self.others.lock().unwrap().clone()
    }
}
