//! A look into RabbitMQ, past the program.

use amqprs::channel::{
    BasicGetArguments, BasicPublishArguments, Channel, ExchangeBindArguments,
    ExchangeDeclareArguments, ExchangeDeleteArguments, QueueBindArguments, QueueDeclareArguments,
    QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{BasicProperties, FieldTable};
use serde_json::Value;

use super::{Signer, rabbitmq_url};

pub struct Amqp {
    connection: Connection,
    channel: Channel,
}

/// A message as somebody else might publish it.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    pub body: Vec<u8>,
    pub message_id: Option<String>,
    pub message_type: Option<String>,
    pub properties: BasicProperties,
}

impl Raw {
    /// Signed as the publisher signs it. It has no other headers.
    pub fn signed(mut self, signer: &Signer) -> Raw {
        let mut headers = FieldTable::new();
        let signature = signer.signature(&self);
        headers.insert("taskd-signature".try_into().unwrap(), signature.into());
        self.properties.with_headers(headers);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Amqp {
    pub async fn connect() -> Amqp {
        Amqp::connect_to(&rabbitmq_url()).await
    }

    pub async fn connect_to(url: &str) -> Amqp {
        let connection = Amqp::open(url).await;
        let channel = connection.open_channel(None).await.unwrap();
        Amqp { connection, channel }
    }

    /// A connection to the broker at a URL.
    pub async fn open(url: &str) -> Connection {
        let url = url::Url::parse(url).expect("TEST_RABBITMQ_URL is a URL");
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
        };
        let user = if url.username().is_empty() { "guest" } else { url.username() };
        let (user, password) = (decode(user), decode(url.password().unwrap_or("guest")));
        let host = url.host_str().expect("TEST_RABBITMQ_URL names a host");
        let mut arguments =
            OpenConnectionArguments::new(host, url.port().unwrap_or(5672), &user, &password);
        let vhost = decode(url.path().trim_start_matches('/'));
        arguments.virtual_host(if vhost.is_empty() { "/" } else { &vhost });
        Connection::open(&arguments)
            .await
            .unwrap_or_else(|error| panic!("RabbitMQ must run at TEST_RABBITMQ_URL: {error}"))
    }

    pub async fn close(self) {
        let _ = self.channel.close().await;
        let _ = self.connection.close().await;
    }

    /// Publishes a message as it is.
    pub async fn publish(&self, queue: &str, raw: Raw) {
        let mut properties = raw.properties;
        properties.with_delivery_mode(2);
        if let Some(id) = &raw.message_id {
            properties.with_message_id(id);
        }
        if let Some(name) = &raw.message_type {
            properties.with_message_type(name);
        }
        self.channel
            .basic_publish(properties, raw.body, BasicPublishArguments::new("", queue))
            .await
            .unwrap();
    }

    /// Takes the next message out of a queue.
    pub async fn take(&self, queue: &str) -> Option<Raw> {
        let mut arguments = BasicGetArguments::new(queue);
        arguments.no_ack(true);
        let (_, properties, body) = self.channel.basic_get(arguments).await.unwrap()?;
        Some(Raw {
            body,
            message_id: properties.message_id().cloned(),
            message_type: properties.message_type().cloned(),
            properties,
        })
    }

    /// Takes so many messages out of a queue, in order.
    pub async fn take_all(&self, queue: &str, count: usize) -> Vec<Raw> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let what = format!("message {} of {count}", messages.len() + 1);
            messages.push(super::eventually(&what, || self.take(queue)).await);
        }
        messages
    }

    /// How many messages are ready in a queue, or `None` where there is no such queue.
    pub async fn count(&self, queue: &str) -> Option<u32> {
        // The broker closes the channel when the answer is no.
        let channel = self.connection.open_channel(None).await.unwrap();
        let mut arguments = QueueDeclareArguments::new(queue);
        arguments.passive(true);
        let found = channel.queue_declare(arguments).await.ok()?;
        let _ = channel.close().await;
        Some(found.map_or(0, |(_, messages, _)| messages))
    }

    /// Makes a durable queue by hand.
    pub async fn declare(&self, queue: &str, arguments: FieldTable) {
        let mut declare = QueueDeclareArguments::new(queue);
        declare.durable(true).arguments(arguments);
        self.channel.queue_declare(declare).await.unwrap();
    }

    /// Binds a queue to an exchange for messages with such routing keys.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await.unwrap();
    }

    /// Binds an exchange to another.
    pub async fn bind_exchange(&self, to: &str, from: &str, key: &str) {
        self.channel.exchange_bind(ExchangeBindArguments::new(to, from, key)).await.unwrap();
    }

    /// Makes a durable exchange by hand.
    pub async fn declare_exchange(&self, name: &str, kind: &str) {
        let mut declare = ExchangeDeclareArguments::new(name, kind);
        declare.durable(true);
        self.channel.exchange_declare(declare).await.unwrap();
    }

    /// Deletes an exchange; harmless if there is none.
    pub async fn delete_exchange(&self, name: &str) {
        self.channel.exchange_delete(ExchangeDeleteArguments::new(name)).await.unwrap();
    }

    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(QueueDeleteArguments::new(queue)).await.unwrap();
    }
}
