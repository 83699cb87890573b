//! RabbitMQ, by AMQP 0-9-1 (<https://www.rabbitmq.com/amqp-0-9-1-reference>).
//!
//! Nothing here repairs a lost connection in the background. Whoever needs a connection opens one,
//! and whoever meets a broken one drops it and reports an error: the callers retry with backoff.

mod confirms;
mod connection;
mod consumer;
mod convert;
mod dead_letters;
mod declare;
mod headers;
mod ledger;
mod publisher;
mod refusal;
mod url;

use std::time::Duration;

use async_trait::async_trait;

pub use declare::{Finding, check};
pub use refusal::{Probe, probe};
pub use url::AmqpUrl;

use crate::broker::topology::Topology;
use crate::broker::{Broker, BrokerError, Consumption, DeadLetterQueue, Outgoing};

/// How long one call may take; longer means that the broker is in trouble.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// RabbitMQ as taskd uses it: one connection for publishing and one for each consumer, since a
/// broker that runs short of memory stops reading from connections that publish.
pub struct AmqpBroker {
    url: AmqpUrl,
    name: String,
    topology: Topology,
    publisher: publisher::Publisher,
    may_declare: bool,
}

impl AmqpBroker {
    /// A broker that connects when first needed; `name` is how it appears in the broker's lists.
    /// Call this inside the runtime in which the publishing connection is to live.
    pub fn new(url: AmqpUrl, topology: Topology, name: &str) -> AmqpBroker {
        let publisher = publisher::Publisher::new(url.clone(), format!("{name} publisher"));
        AmqpBroker { url, name: name.to_owned(), topology, publisher, may_declare: true }
    }

    /// The same, but it never declares a queue: whoever runs the broker does.
    pub fn without_declaring(self) -> AmqpBroker {
        AmqpBroker { may_declare: false, ..self }
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        let batch =
            batch.into_iter().map(|out| (self.topology.queue_of(out.to), out.message)).collect();
        self.publisher.publish(batch).await
    }

    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError> {
        let name = format!("{} consumer", self.name);
        consumer::consume(&self.url, &name, self.topology.main(), prefetch).await
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError> {
        let name = format!("{} dead letters", self.name);
        Ok(Box::new(dead_letters::open(&self.url, &name, self.topology.dead()).await?))
    }

    async fn declare(&self) -> Result<(), BrokerError> {
        if !self.may_declare {
            return Err(BrokerError::MayNotDeclare);
        }
        declare::declare(&self.url, &self.topology).await
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.publisher.ping().await
    }

    async fn close(&self) {
        self.publisher.close().await;
    }
}
