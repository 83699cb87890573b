//! Messages that a demo publishes: copies of what is done, and what no worker may believe.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::authenticity::Authenticity;
use crate::broker::{Broker, BrokerError, Destination, Message, Outgoing, Signer};
use crate::publisher;
use crate::store::operation::demo;
use crate::store::{Store, StoreError};

/// Why messages were not published.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The broker took none of them, as while the demo holds it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Publishes to the main queue of a broker.
pub(super) struct Messages {
    pub(super) store: Store,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) authenticity: Authenticity,
}

/// How long a message is that is longer than any event, in bytes.
const HUGE: usize = 200_000;

impl Messages {
    /// Publishes a second copy of the latest events whose effects are all done, signed as the first
    /// was. Returns how many.
    pub(super) async fn duplicates(&self, count: u32) -> Result<u64, DemoError> {
        let authority = self.authenticity.authority().await?;
        let mut connection = self.store.connection().await?;
        let rows = demo::processed_events(&mut connection, count.into()).await?;
        drop(connection);
        let copies = rows.into_iter().map(|row| {
            let mut copy = publisher::copy_of(&row);
            authority.sign(&mut copy);
            copy
        });
        self.publish(copies.collect()).await
    }

    /// Publishes what anybody could who reaches the queue: events without a signature or with
    /// somebody else's, and what is no event at all. Returns how many.
    pub(super) async fn garbage(&self, count: u32) -> Result<u64, DemoError> {
        let rows = demo::processed_events(&mut *self.store.connection().await?, 1).await?;
        let event = rows.first().map_or_else(made_up, publisher::copy_of);
        self.publish((0..count).map(|number| garbage(number, &event)).collect()).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<u64, DemoError> {
        let to_main = |message| Outgoing { to: Destination::Main, message };
        let answers = self.broker.publish(messages.into_iter().map(to_main).collect()).await;
        let taken = answers.iter().filter(|answer| answer.is_ok()).count();
        match answers.into_iter().find_map(Result::err) {
            Some(error) if taken == 0 => Err(error.into()),
            _ => Ok(taken as u64),
        }
    }
}

/// An event that never happened.
fn made_up() -> Message {
    let id = Uuid::now_v7();
    let body =
        json!({ "type": "TASK_DELETED", "payload": { "id": 1 }, "metadata": { "eventId": id } });
    Message {
        body: body.to_string().into_bytes(),
        message_id: Some(id.to_string()),
        message_type: Some("TASK_DELETED".to_owned()),
        content_type: Some("application/json".to_owned()),
        ..Message::default()
    }
}

/// One of five sorts, in turn. Each is a message of its own, not a copy of a known event.
fn garbage(number: u32, event: &Message) -> Message {
    let stranger = Message { message_id: Some(Uuid::now_v7().to_string()), ..event.clone() };
    match number % 5 {
        0 => stranger,
        1 => {
            let mut signed = stranger;
            Signer::new(b"the key of somebody else").sign(&mut signed);
            signed
        }
        2 => Message { body: b"{ \"type\": \"TASK_".to_vec(), ..stranger },
        3 => Message::default(),
        _ => Message { body: vec![b'x'; HUGE], ..stranger },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_of_every_sort_and_none_is_signed_by_us() {
        let ours = Signer::new(b"ours");
        let mut event = made_up();
        event.headers.clear();
        let sorts: Vec<Message> = (0..5).map(|number| garbage(number, &event)).collect();
        assert!(sorts.iter().all(|message| !ours.has_signed(message)));
        assert!(sorts[3].body.is_empty() && sorts[4].body.len() == HUGE);
        assert!(serde_json::from_slice::<serde_json::Value>(&sorts[2].body).is_err());
        assert_ne!(sorts[0].message_id, event.message_id);
        assert_eq!(sorts[0].body, event.body);
    }
}
