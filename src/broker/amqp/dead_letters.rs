//! The dead-letter queue for operators: `basic.get`, so that only what is asked for is held.

use std::sync::Arc;

use amqprs::channel::{BasicAckArguments, BasicGetArguments, QueueDeclareArguments};
use amqprs::connection::Connection;
use async_trait::async_trait;

use super::confirms::Confirms;
use super::connection::{Open, call, connect, open_channel};
use super::convert;
use super::url::AmqpUrl;
use crate::broker::{BrokerError, DeadLetterQueue, Delivery, Tag};

/// Opens the queue on a connection of its own.
pub(super) async fn open(
    url: &AmqpUrl,
    name: &str,
    queue: &str,
) -> Result<impl DeadLetterQueue + use<>, BrokerError> {
    let connection = connect(url, name).await?;
    let channel = open_channel(&connection, Arc::new(Confirms::default())).await?;
    Ok(Letters { connection, channel, queue: queue.to_owned() })
}

struct Letters {
    connection: Connection,
    channel: Open,
    queue: String,
}

impl Letters {
    /// The broker's own words where it has closed the channel.
    fn explain(&self, error: BrokerError) -> BrokerError {
        match self.channel.closed_because.get() {
            Some((_, why)) => BrokerError::Unavailable(why),
            None => error,
        }
    }
}

#[async_trait]
impl DeadLetterQueue for Letters {
    async fn waiting(&mut self) -> Result<u64, BrokerError> {
        let channel = self.channel.channel.clone();
        let mut arguments = QueueDeclareArguments::new(&self.queue);
        arguments.passive(true);
        let counted = call("counting", async move { channel.queue_declare(arguments).await }).await;
        let counted = counted.map_err(|e| self.explain(e))?;
        Ok(counted.map_or(0, |(_, messages, _)| messages.into()))
    }

    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        let channel = self.channel.channel.clone();
        let arguments = BasicGetArguments::new(&self.queue);
        let got = call("reading", async move { channel.basic_get(arguments).await }).await;
        let got = got.map_err(|e| self.explain(e))?;
        Ok(got.map(|(get_ok, properties, body)| Delivery {
            tag: get_ok.delivery_tag(),
            redelivered: get_ok.redelivered(),
            message: convert::from_amqp(&properties, body),
        }))
    }

    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError> {
        let channel = self.channel.channel.clone();
        let arguments = BasicAckArguments::new(tag, false);
        call("removing", async move { channel.basic_ack(arguments).await }).await
    }

    async fn close(self: Box<Self>) {
        let Letters { connection, channel, .. } = *self;
        // A close that waits for its answer, so that what was removed is removed and what was
        // held is back before anybody looks again.
        let _ = call("closing", async move { channel.channel.close().await }).await;
        let _ = call("closing", async move { connection.close().await }).await;
    }
}
