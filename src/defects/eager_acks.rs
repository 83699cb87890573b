//! A delivery is acked before its effects.

use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::{
    Broker, BrokerError, Consumption, DeadLetterQueue, Deliveries, Delivery, Outgoing, QueueState,
    Settlement,
};

/// A broker whose consumer acks what it hands out. Later acks of the same delivery do nothing,
/// since it is settled.
pub(super) struct EagerAcks(pub(super) Arc<dyn Broker>);

#[async_trait]
impl Broker for EagerAcks {
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        self.0.publish(batch).await
    }

    async fn consume(&self, prefetch: u16) -> Result<Consumption, BrokerError> {
        let Consumption { deliveries, settlement } = self.0.consume(prefetch).await?;
        let eager = EagerDeliveries { deliveries, settlement: Arc::clone(&settlement) };
        Ok(Consumption { deliveries: Box::new(eager), settlement })
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetterQueue>, BrokerError> {
        self.0.dead_letters().await
    }

    async fn declare(&self) -> Result<(), BrokerError> {
        self.0.declare().await
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.0.ping().await
    }

    async fn queues(&self) -> Result<Vec<QueueState>, BrokerError> {
        self.0.queues().await
    }

    fn main_queue(&self) -> &str {
        self.0.main_queue()
    }

    fn system(&self) -> &'static str {
        self.0.system()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

struct EagerDeliveries {
    deliveries: Box<dyn Deliveries>,
    settlement: Arc<dyn Settlement>,
}

impl EagerDeliveries {
    fn ack(&self, delivery: &Delivery) {
        let (settlement, tag) = (Arc::clone(&self.settlement), delivery.tag);
        // On a lost connection it is redelivered anyway.
        tokio::spawn(async move { drop(settlement.ack(&[tag]).await) });
    }
}

#[async_trait]
impl Deliveries for EagerDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.next().await?;
        self.ack(&delivery);
        Some(delivery)
    }

    fn try_next(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.try_next()?;
        self.ack(&delivery);
        Some(delivery)
    }

    async fn cancel(&mut self) {
        self.deliveries.cancel().await;
    }
}
