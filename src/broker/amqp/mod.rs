//! RabbitMQ, by AMQP 0-9-1 (<https://www.rabbitmq.com/amqp-0-9-1-reference>).
//!
//! Nothing here repairs a lost connection in the background. Whoever needs a connection opens one,
//! and whoever meets a broken one drops it and reports an error: the callers retry with backoff.

mod by_hand;
mod confirms;
mod connection;
mod consumer;
mod convert;
mod dead_letters;
mod declare;
mod exchange;
mod headers;
mod ledger;
mod publisher;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

pub use by_hand::probe::{Probe, probe};
pub use declare::{About, Finding, Kind, check};
pub use exchange::ExchangePublisher;
pub use url::AmqpUrl;

use crate::broker::topology::Topology;
use crate::broker::{Broker, BrokerError, Consumption, DeadLetterQueue, Outgoing, QueueState};

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
    /// Whether the client has failed to read a dead letter, so that the next is read by hand.
    unreadable: Arc<AtomicBool>,
}

impl AmqpBroker {
    /// A broker that connects when first needed; `name` is how it appears in the broker's lists.
    /// Call this inside the runtime in which the publishing connection is to live.
    pub fn new(url: AmqpUrl, topology: Topology, name: &str) -> AmqpBroker {
        let publisher = publisher::Publisher::new(url.clone(), format!("{name} publisher"));
        let unreadable = Arc::default();
        AmqpBroker {
            url,
            name: name.to_owned(),
            topology,
            publisher,
            may_declare: true,
            unreadable,
        }
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
        if self.unreadable.swap(false, Ordering::Relaxed) {
            let letters = by_hand::letters::open_letters(&self.url, self.topology.dead());
            return Ok(Box::new(letters.await?));
        }
        let name = format!("{} dead letters", self.name);
        Ok(Box::new(
            dead_letters::open(&self.url, &name, self.topology.dead(), &self.unreadable).await?,
        ))
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

    async fn queues(&self) -> Result<Vec<QueueState>, BrokerError> {
        declare::states(&self.publisher.connection().await?, &self.topology).await
    }

    fn main_queue(&self) -> &str {
        self.topology.main()
    }

    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    async fn close(&self) {
        self.publisher.close().await;
    }
}
