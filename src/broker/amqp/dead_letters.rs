//! The dead-letter queue for operators, by `basic.get`: it holds only the letters that are asked
//! for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amqprs::channel::{BasicAckArguments, BasicGetArguments, QueueDeclareArguments};
use amqprs::connection::Connection;
use async_trait::async_trait;

use super::confirms::Confirms;
use super::connection::{Line, call, connect, open_channel};
use super::convert;
use super::url::AmqpUrl;
use crate::broker::{BrokerError, DeadLetterQueue, Delivery, Tag};

/// Opens the queue on a connection of its own.
pub(super) async fn open(
    url: &AmqpUrl,
    name: &str,
    queue: &str,
    unreadable: &Arc<AtomicBool>,
) -> Result<impl DeadLetterQueue + use<>, BrokerError> {
    let connection = connect(url, name).await?;
    let line = open_channel(&connection, Arc::new(Confirms::default())).await?;
    let unreadable = Arc::clone(unreadable);
    Ok(Letters { connection, line, queue: queue.to_owned(), unreadable })
}

struct Letters {
    connection: Connection,
    line: Line,
    queue: String,
    /// Set when reading a letter has failed: it may be one that the client can't read.
    unreadable: Arc<AtomicBool>,
}

#[async_trait]
impl DeadLetterQueue for Letters {
    async fn waiting(&mut self) -> Result<u64, BrokerError> {
        let mut arguments = QueueDeclareArguments::new(&self.queue);
        arguments.passive(true);
        let counting = self
            .line
            .ask("counting", |channel| async move { channel.queue_declare(arguments).await });
        let counted = counting.await.map_err(|e| self.line.explain(e))?;
        Ok(counted.map_or(0, |(_, messages, _)| messages.into()))
    }

    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        let arguments = BasicGetArguments::new(&self.queue);
        let getting =
            self.line.ask("reading", |channel| async move { channel.basic_get(arguments).await });
        let got = getting.await.map_err(|error| {
            self.unreadable.store(true, Ordering::Relaxed);
            self.line.explain(error)
        })?;
        Ok(got.map(|(get_ok, properties, body)| Delivery {
            tag: get_ok.delivery_tag(),
            redelivered: get_ok.redelivered(),
            message: convert::from_amqp(&properties, body),
        }))
    }

    async fn remove(&mut self, tag: Tag) -> Result<(), BrokerError> {
        let arguments = BasicAckArguments::new(tag, false);
        self.line.ask("removing", |channel| async move { channel.basic_ack(arguments).await }).await
    }

    async fn close(self: Box<Self>) {
        let Letters { connection, line, .. } = *self;
        // Wait for the answer to the close, so that removed letters are gone and held ones are back
        // in the queue before anybody looks again.
        line.close().await;
        let _ = call("closing", async move { connection.close().await }).await;
    }
}
