//! The exchange where events are published for others.

use std::sync::Arc;

use amqprs::channel::{ExchangeDeclareArguments, ExchangeType};
use amqprs::connection::Connection;

use super::confirms::Confirms;
use super::connection::open_channel;
use super::declare::{About, Finding, NOT_FOUND, PRECONDITION_FAILED, explain};
use super::publisher::Publisher;
use super::url::AmqpUrl;
use crate::broker::topology::Exchange;
use crate::broker::{BrokerError, Message};

/// Publishes to the exchange for others, on a connection of its own: what goes wrong there closes
/// no channel that the core needs.
pub struct ExchangePublisher {
    name: String,
    publisher: Publisher,
}

impl ExchangePublisher {
    /// A publisher that connects when first needed; `client` is how it appears in the broker's
    /// lists. Call this inside the runtime in which its connection is to live.
    pub fn new(url: AmqpUrl, exchange: &Exchange, client: &str) -> ExchangePublisher {
        let publisher = Publisher::to_exchange(url, format!("{client} exchange"), &exchange.name);
        ExchangePublisher { name: exchange.name.clone(), publisher }
    }

    /// The exchange's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Publishes a message, and waits until each queue that is bound for it has it.
    ///
    /// # Errors
    /// The broker is away, there is no such exchange, or a queue refuses the message. Other queues
    /// may have it then.
    pub async fn publish(&self, routing_key: &str, message: Message) -> Result<(), BrokerError> {
        let answers = self.publisher.publish(vec![(routing_key.to_owned(), message)]).await;
        answers.into_iter().next().unwrap_or(Err(BrokerError::Nacked))
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.publisher.close().await;
    }
}

/// Declares the exchange. If there is one with this name and other properties, that is a finding.
pub(super) async fn declare(
    connection: &Connection,
    exchange: &Exchange,
) -> Result<Option<Finding>, BrokerError> {
    ask(connection, exchange, false).await
}

/// Looks whether the exchange is as wanted, without making it.
pub(super) async fn check(
    connection: &Connection,
    exchange: &Exchange,
) -> Result<Option<Finding>, BrokerError> {
    match ask(connection, exchange, true).await? {
        // A passive declaration compares nothing.
        None => ask(connection, exchange, false).await,
        missing => Ok(missing),
    }
}

async fn ask(
    connection: &Connection,
    exchange: &Exchange,
    passive: bool,
) -> Result<Option<Finding>, BrokerError> {
    let line = open_channel(connection, Arc::new(Confirms::default())).await?;
    let kind = String::from(ExchangeType::from(exchange.r#type));
    let mut arguments = ExchangeDeclareArguments::new(&exchange.name, &kind);
    arguments.durable(true).passive(passive);
    let asking = line.ask("declaring an exchange", |channel| async move {
        channel.exchange_declare(arguments).await
    });
    let error = match asking.await {
        Ok(()) => {
            line.close().await;
            return Ok(None);
        }
        Err(error) => error,
    };
    let about = About::Exchange(exchange.name.clone());
    match line.closed_because() {
        Some((NOT_FOUND, _)) => Ok(Some(Finding::missing(about))),
        Some((PRECONDITION_FAILED, why)) => Ok(Some(Finding::drift(about, explain(&why)))),
        _ => Err(line.explain(error)),
    }
}
