//! Consumes messages from a queue.

use std::sync::{Arc, Mutex, PoisonError};

use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicNackArguments,
    BasicQosArguments, ConsumerMessage,
};
use amqprs::connection::Connection;
use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;

use super::confirms::Confirms;
use super::connection::{Line, connect, open_channel};
use super::convert;
use super::ledger::Ledger;
use super::url::AmqpUrl;
use crate::broker::{BrokerError, Consumption, Deliveries, Delivery, Settlement, Tag};

/// Opens a connection of its own and starts to consume.
pub(super) async fn consume(
    url: &AmqpUrl,
    name: &str,
    queue: &str,
    prefetch: u16,
) -> Result<Consumption, BrokerError> {
    let connection = connect(url, name).await?;
    let line = open_channel(&connection, Arc::new(Confirms::default())).await?;
    let arguments = BasicConsumeArguments::new(queue, "");
    let started = line.ask("starting to consume", move |channel| async move {
        channel.basic_qos(BasicQosArguments::new(0, prefetch, false)).await?;
        channel.basic_consume_rx(arguments).await
    });
    let (consumer_tag, arriving) = started.await.map_err(|error| line.explain(error))?;
    let link = Arc::new(Link {
        _connection: connection,
        line,
        ledger: Mutex::default(),
        order: tokio::sync::Mutex::new(()),
    });
    Ok(Consumption {
        settlement: link.clone(),
        deliveries: Box::new(AmqpDeliveries { link, consumer_tag, arriving }),
    })
}

struct Link {
    /// Kept open for as long as somebody has a delivery.
    _connection: Connection,
    line: Line,
    ledger: Mutex<Ledger>,
    /// Held from working out the frames until they are handed to the client. A `multiple` that a
    /// later one overtook would name tags that the broker no longer knows.
    order: tokio::sync::Mutex<()>,
}

impl Link {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AmqpDeliveries {
    link: Arc<Link>,
    consumer_tag: String,
    arriving: UnboundedReceiver<ConsumerMessage>,
}

impl AmqpDeliveries {
    fn take(&self, message: ConsumerMessage) -> Option<Delivery> {
        let deliver = message.deliver?;
        let properties = message.basic_properties?;
        self.link.ledger().taken(deliver.delivery_tag());
        Some(Delivery {
            tag: deliver.delivery_tag(),
            redelivered: deliver.redelivered(),
            message: convert::from_amqp(&properties, message.content.unwrap_or_default()),
        })
    }
}

#[async_trait]
impl Deliveries for AmqpDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let message = self.arriving.recv().await?;
        self.take(message)
    }

    fn try_next(&mut self) -> Option<Delivery> {
        let message = self.arriving.try_recv().ok()?;
        self.take(message)
    }

    async fn cancel(&mut self) {
        let arguments = BasicCancelArguments::new(&self.consumer_tag);
        let cancelling = self
            .link
            .line
            .ask("cancelling", |channel| async move { channel.basic_cancel(arguments).await });
        // On a lost connection there is nothing left to cancel.
        let _ = cancelling.await;
    }
}

#[async_trait]
impl Settlement for Link {
    async fn ack(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        let _in_order = self.order.lock().await;
        let frames = self.ledger().ack(tags);
        for frame in frames {
            let arguments = BasicAckArguments::new(frame.tag, frame.multiple);
            self.line.channel.basic_ack(arguments).await.map_err(lost)?;
        }
        Ok(())
    }

    async fn release(&self, tags: &[Tag]) -> Result<(), BrokerError> {
        let _in_order = self.order.lock().await;
        let tags = self.ledger().remove(tags);
        for tag in tags {
            let arguments = BasicNackArguments::new(tag, false, true);
            self.line.channel.basic_nack(arguments).await.map_err(lost)?;
        }
        Ok(())
    }
}

fn lost(error: amqprs::error::Error) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}
