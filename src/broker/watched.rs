//! Counts what a worker has in hand, around any broker, so that people can see whether it gets on.

use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::{
    Broker, BrokerError, Consumption, DeadLetterQueue, Deliveries, Delivery, Outgoing, QueueState,
    Settlement, Tag,
};
use crate::ground::telemetry::{InHand, Load};

/// A broker whose consumers count what they take and settle.
pub struct Watched {
    broker: Arc<dyn Broker>,
    load: Load,
}

impl Watched {
    /// Counts in `load`.
    pub fn new(broker: Arc<dyn Broker>, load: Load) -> Watched {
        Watched { broker, load }
    }
}

#[async_trait]
impl Broker for Watched {
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        self.broker.publish(batch).await
    }

    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError> {
        let Consumption { deliveries, settlement } = self.broker.consume(prefetch).await?;
        let held = Arc::new(self.load.none());
        Ok(Consumption {
            deliveries: Box::new(WatchedDeliveries { deliveries, held: Arc::clone(&held) }),
            settlement: Arc::new(WatchedSettlement { settlement, held }),
        })
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError> {
        self.broker.dead_letters().await
    }

    async fn declare(&self) -> Result<(), BrokerError> {
        self.broker.declare().await
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.broker.ping().await
    }

    async fn queues(&self) -> Result<Vec<QueueState>, BrokerError> {
        self.broker.queues().await
    }

    fn main_queue(&self) -> &str {
        self.broker.main_queue()
    }

    fn system(&self) -> &'static str {
        self.broker.system()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

struct WatchedDeliveries {
    deliveries: Box<dyn Deliveries>,
    held: Arc<InHand>,
}

#[async_trait]
impl Deliveries for WatchedDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.next().await?;
        self.held.add(1);
        Some(delivery)
    }

    fn try_next(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.try_next()?;
        self.held.add(1);
        Some(delivery)
    }

    async fn cancel(&mut self) {
        self.deliveries.cancel().await;
    }
}

struct WatchedSettlement {
    settlement: Arc<dyn Settlement>,
    held: Arc<InHand>,
}

fn count(tags: &[Tag]) -> i64 {
    i64::try_from(tags.len()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Settlement for WatchedSettlement {
    async fn ack(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.settlement.ack(tags).await?;
        self.held.finish(count(tags));
        Ok(())
    }

    async fn release(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.settlement.release(tags).await?;
        self.held.add(-count(tags));
        Ok(())
    }
}
