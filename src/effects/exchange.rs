//! The events for others: each is published to a topic exchange.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Effect, EffectContext, ExternalWork, Outcome, Prepared, Target, Work};
use crate::broker::amqp::ExchangePublisher;
use crate::broker::{BrokerError, Message, event_message};
use crate::domain::event::Event;
use crate::domain::event::cloud_event::{self, AMQP_PREFIX};
use crate::domain::processing::failure::Failure;
use crate::ground::traces::{Span, SpanKind, names};
use crate::store::StoreError;

/// Publishes each event to the exchange for others, if there is one: outside the database, under a
/// claim. So what others bind there can refuse messages, or be full, and costs retries of this
/// effect alone.
pub(super) struct Exchange;

impl Effect for Exchange {
    fn name(&self) -> &'static str {
        "exchange"
    }

    fn applies(&self, _: &Event) -> bool {
        true
    }

    fn start(&self, context: &EffectContext) -> Option<Work> {
        let exchange = context.exchange.clone()?;
        Some(Work::External(Arc::new(Publishing(exchange))))
    }
}

struct Publishing(Arc<ExchangePublisher>);

#[async_trait]
impl ExternalWork for Publishing {
    /// The publisher gives up after five seconds by itself.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn prepare(&self, event: &Event, _: &Target) -> Result<Prepared, StoreError> {
        let (exchange, key, mut message) =
            (Arc::clone(&self.0), event.event_type.routing_key(), message(event));
        Ok(Prepared::run(async move {
            let mut span = Span::below_current(SpanKind::Producer, "send to the exchange");
            if let Some(traceparent) = span.traceparent() {
                message.set_text(&format!("{AMQP_PREFIX}traceparent"), traceparent);
            }
            span.set(names::MESSAGING_DESTINATION_NAME, exchange.name().to_owned());
            match exchange.publish(&key, message).await {
                Ok(()) => Ok(Outcome::Done),
                Err(error) => {
                    let why = refusal(&error, exchange.name());
                    span.fail("broker", why.clone());
                    Err(Failure::transient(why))
                }
            }
        }))
    }
}

/// Why the exchange did not take a message.
fn refusal(error: &BrokerError, exchange: &str) -> String {
    match error {
        BrokerError::Nacked => format!(
            "a queue that is bound to the exchange {exchange} refused the message, as a full one does"
        ),
        BrokerError::Unavailable(why) if why.contains("NOT_FOUND") => {
            format!("there is no exchange {exchange}: run taskd topology declare")
        }
        other => other.to_string(),
    }
}

/// The message as in the queue, with the attributes of a CloudEvent.
fn message(event: &Event) -> Message {
    let mut message = event_message::copy_of(event);
    for (name, value) in cloud_event::attributes(event) {
        message.set_text(&format!("{AMQP_PREFIX}{name}"), value);
    }
    message
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::domain::event::{Actor, Origin};
    use crate::domain::task::{Status, Task, TaskFields, events};

    #[test]
    fn a_message_has_the_body_of_the_queue_and_the_attributes_of_a_cloud_event() {
        let fields = TaskFields {
            title: "t".into(),
            description: None,
            status: Status::Pending,
            user_id: None,
            category_id: None,
            due_at: None,
        };
        let task = Task { id: 7, ..Task::create(fields, Utc::now()) };
        let event = Event::from(events::created(&task, Origin::of(Actor::user(1))));
        assert_eq!(event.event_type.routing_key(), "task.created");
        let message = message(&event);
        assert_eq!(message.body, event.encode());
        let id = event.metadata.event_id.to_string();
        for (name, value) in [
            ("specversion", "1.0"),
            ("id", &*id),
            ("source", "taskd"),
            ("type", "TASK_CREATED"),
            ("subject", "task/7"),
            ("partitionkey", "task/7"),
            ("sequence", "0000000000000000001"),
        ] {
            assert_eq!(message.text(&format!("cloudEvents_{name}")), Some(value), "{name}");
        }
        assert_eq!(message.message_id.as_deref(), Some(&*id));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let lost = BrokerError::Unavailable("NOT_FOUND - no exchange 'x' in vhost '/'".into());
        assert!(refusal(&lost, "x").ends_with("taskd topology declare"));
        assert!(refusal(&BrokerError::Nacked, "x").contains("full"));
    }
}
