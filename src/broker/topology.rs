//! The queues on RabbitMQ as data: declaring, showing and checking all read this.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::Destination;
use crate::domain::processing::retry::short;

/// How often a message may come back unanswered before the broker sets it aside: by then it has
/// most likely killed as many workers. Every requeue and every lost connection counts, so ordinary
/// outages must stay far below this (<https://www.rabbitmq.com/docs/quorum-queues>).
const DELIVERY_LIMIT: i64 = 20;
/// From RabbitMQ 4.0 on, a quorum queue without a limit gets one of 20, and drops a message beyond
/// it. Reading a dead letter counts as a delivery, so the limit of their queue is out of reach.
const NO_DELIVERY_LIMIT: i64 = i32::MAX as i64;

/// Every queue of one taskd system. Messages reach them by the default exchange: no binding of
/// anybody's can keep them from their queue. The exchange for others is apart from all that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topology {
    /// The queues, main queue first, dead-letter queue last.
    pub queues: Vec<Queue>,
    /// Where events are published for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    #[serde(skip)]
    delay_prefix: String,
}

/// One queue, as it is declared. All queues are durable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// Its name, which is also its routing key.
    pub name: String,
    /// What it is for.
    pub purpose: &'static str,
    /// The optional arguments (<https://www.rabbitmq.com/docs/queues#optional-arguments>).
    pub arguments: BTreeMap<&'static str, Value>,
}

/// The exchange where events are published for others: a durable one, by topics. Who wants events
/// binds a queue of his own to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// Its type (<https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-topic>).
    pub r#type: &'static str,
}

impl Exchange {
    /// The exchange with this name.
    pub fn new(name: &str) -> Exchange {
        Exchange { name: name.to_owned(), r#type: "topic" }
    }
}

impl Topology {
    /// The topology under these names, with one delay queue for each delay.
    pub fn new(main: &str, delay_prefix: &str, dead: &str, delays: &[Duration]) -> Topology {
        // A message that dies or has waited leaves its queue only when the next queue has confirmed
        // it. That strategy requires that a full queue rejects messages instead of dropping its
        // head.
        let to = |queue: &str| {
            BTreeMap::from([
                ("x-queue-type", json!("quorum")),
                ("x-dead-letter-exchange", json!("")),
                ("x-dead-letter-routing-key", json!(queue)),
                ("x-dead-letter-strategy", json!("at-least-once")),
                ("x-overflow", json!("reject-publish")),
            ])
        };
        let mut main_arguments = to(dead);
        main_arguments.insert("x-delivery-limit", json!(DELIVERY_LIMIT));
        let mut queues = vec![Queue {
            name: main.to_owned(),
            purpose: "events for the workers",
            arguments: main_arguments,
        }];
        for delay in delays {
            let mut arguments = to(main);
            arguments.insert("x-message-ttl", json!(delay.as_millis() as u64));
            queues.push(Queue {
                name: delay_queue(delay_prefix, *delay),
                purpose: "waiting to be tried again",
                arguments,
            });
        }
        queues.push(Queue {
            name: dead.to_owned(),
            purpose: "what could not be processed",
            arguments: BTreeMap::from([
                ("x-queue-type", json!("quorum")),
                ("x-delivery-limit", json!(NO_DELIVERY_LIMIT)),
            ]),
        });
        Topology { queues, exchange: None, delay_prefix: delay_prefix.to_owned() }
    }

    /// The same, with an exchange for others if there is one.
    pub fn with_exchange(self, exchange: Option<Exchange>) -> Topology {
        Topology { exchange, ..self }
    }

    /// That all is as wanted, for people.
    pub fn as_wanted(&self) -> String {
        let exchange = self.exchange.as_ref();
        let exchange =
            exchange.map_or(String::new(), |it| format!(" and the exchange {}", it.name));
        format!("{} queues{exchange} are as wanted", self.queues.len())
    }

    /// The name of the destination's queue.
    pub fn queue_of(&self, destination: Destination) -> String {
        match destination {
            Destination::Main => self.main().to_owned(),
            Destination::Delay(delay) => delay_queue(&self.delay_prefix, delay),
            Destination::DeadLetter => self.dead().to_owned(),
        }
    }

    /// The main queue's name.
    pub fn main(&self) -> &str {
        self.queues.first().map_or("", |q| &q.name)
    }

    /// The dead-letter queue's name.
    pub fn dead(&self) -> &str {
        self.queues.last().map_or("", |q| &q.name)
    }

    /// The prefix of the delay queues' names.
    pub fn delay_prefix(&self) -> &str {
        &self.delay_prefix
    }
}

fn delay_queue(prefix: &str, delay: Duration) -> String {
    format!("{prefix}.{}", short(delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_destination_has_its_queue() {
        let delays = [Duration::from_secs(1), Duration::from_secs(120)];
        let topology =
            Topology::new("task_events", "task_events.retry", "task_events.dlq", &delays);
        let names: Vec<&str> = topology.queues.iter().map(|q| q.name.as_str()).collect();
        assert_eq!(
            names,
            ["task_events", "task_events.retry.1s", "task_events.retry.2m", "task_events.dlq"]
        );
        for delay in delays {
            assert!(names.contains(&topology.queue_of(Destination::Delay(delay)).as_str()));
        }
        assert_eq!(topology.queue_of(Destination::Main), "task_events");
        assert_eq!(topology.queue_of(Destination::DeadLetter), "task_events.dlq");
    }
}
